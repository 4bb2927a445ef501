"""Which key does what: the one list that feeds bindings, hints, palette, help and docs.

An id (`console.export-vv`) is stable: users' key maps will name it. Letters act on what is
selected, `enter` opens, `escape` steps back, `?` explains, `/` filters. Only keys that move the
focus have priority: a priority key overtakes cursor keys that were typed before it, so one that
acts on the selected row would act on the wrong row. It is one file because it is one list.
"""

from __future__ import annotations

from typing import Final

from tui.act import REMAPPED as REMAPPED
from tui.act import Act as Act
from tui.act import display as display

HELP: Final = Act(
    "app.help", "help", "question_mark,f1", "Help", "Show the keys of this screen", priority=False
)
QUIT: Final = Act("app.quit", "quit", "q,ctrl+q", "Quit", "Leave; asks when people are connected")
UNDO: Final = Act("app.undo", "undo", "z", "Undo", "Take back what waits to be done", show=False)
FAILURES: Final = Act(
    "app.failures",
    "failures",
    "exclamation_mark",
    "Failures",
    "Show what failed in the last work on many machines",
    show=False,
)
JUMP: Final = Act(
    "app.jump",
    "jump",
    "ctrl+o",
    "Jump",
    "Show a letter at every row, tab, field and button; type it to go there",
    show=False,
    priority=True,
)
SETTINGS: Final = Act(
    "app.settings", "go('settings')", "comma", "Settings", "Colours, columns and keys", show=False
)
PINNED: Final = (QUIT, HELP)
"""Hints that are never left out."""

GO_CONSOLES: Final = Act(
    "screen.1", "go('consoles')", "1", "Consoles", "Go to the consoles", show=False
)
GO_SOURCES: Final = Act(
    "screen.3", "go('sources')", "3", "Sources", "Go to the sources", show=False
)
PAGES: Final = (
    GO_CONSOLES,
    Act("screen.2", "go('sessions')", "2", "Sessions", "Go to the live sessions", show=False),
    GO_SOURCES,
    Act("screen.4", "go('events')", "4", "Events", "Go to the events", show=False),
    Act("screen.5", "go('proxy')", "5", "Proxy", "Go to the proxy", show=False),
    Act("screen.6", "go('machines')", "6", "Machines", "Go to the VMs of this host", show=False),
)
"""Those with a tab, in their order."""

APP: Final = (
    *PAGES,
    Act(
        "app.palette",
        "command_palette",
        "colon,ctrl+p",
        "Commands",
        "Type what you want: any verb, any console",
        priority=True,
    ),
    JUMP,
    SETTINGS,
    UNDO,
    FAILURES,
    QUIT,
    HELP,
)

MENU: Final = Act(
    "list.menu",
    "menu",
    "full_stop,shift+f10",
    "Menu",
    "What can be done to the row, and why not the rest; the right button too",
    show=False,
)
TABLE: Final = (
    Act("list.up", "move(-1)", "up,k", "Up", "One row up", show=False),
    Act("list.down", "move(1)", "down,j", "Down", "One row down", show=False),
    Act("list.top", "edge(0)", "g,home", "Top", "First row", show=False),
    Act("list.end", "edge(1)", "G,end", "End", "Last row", show=False),
    Act("list.page-up", "page(-1)", "pageup,ctrl+b", "Page up", "One page up", show=False),
    Act("list.page-down", "page(1)", "pagedown,ctrl+f", "Page down", "One page down", show=False),
    Act("list.half-up", "page(-0.5)", "ctrl+u", "Half up", "Half a page up", show=False),
    Act("list.half-down", "page(0.5)", "ctrl+d", "Half down", "Half a page down", show=False),
    Act("list.mark", "mark", "space", "Mark", "Mark the row, and go on to the next", show=False),
    Act(
        "list.range",
        "mark_range",
        "V,shift+space",
        "Mark range",
        "Mark from the row marked last to this one",
        show=False,
    ),
    Act(
        "list.all",
        "mark_all",
        "asterisk",
        "Mark all",
        "Mark every listed row, or take all marks off",
        show=False,
    ),
    MENU,
)

FIND: Final = Act(
    "list.find",
    "find",
    "slash",
    "Filter",
    "Narrow the list while you type",
    priority=True,
)
BACK: Final = Act(
    "app.back", "back", "escape", "Back", "One step back: marks, filter, detail, page", show=False
)
SORT: Final = Act("list.sort", "sort", "S", "Sort", "Choose what the list is sorted by", show=False)
REFRESH: Final = Act(
    "source.refresh", "refresh_sources", "r", "Refresh", "Ask every source again, now"
)
NEW: Final = Act("vm.new", "new_vm", "n", "New VM", "Define a local VM, in a form", priority=True)

DEMO: Final = Act(
    "vm.demo", "demo", "D", "Demo", "Start the demo guest that comes with broker", show=False
)
ADOPT: Final = Act(
    "vm.adopt",
    "adopt",
    "a",
    "Adopt",
    "Look for QEMUs that run on this host already, and take one in",
    show=False,
)

OPEN: Final = Act(
    "console.open",
    "verb('open')",
    "enter,o",
    "Open",
    "Open its screen in a viewer, or else here",
    needs=True,
)
EXPORT: Final = Act(
    "console.export-vv",
    "verb('export')",
    "e",
    "Export",
    "Write a .vv file that opens its screen",
    needs=True,
)
LIVE: Final = Act(
    "console.live", "verb('live')", "l", "Live", "Show its screen here, with keyboard and mouse",
    needs=True,
)  # fmt: skip
WALL: Final = Act("view.wall", "wall", "w", "Wall", "The screens of the listed VMs, side by side")
SERIAL: Final = Act(
    "console.serial", "verb('serial')", "s", "Serial", "Lend this terminal to its serial port",
    needs=True,
)  # fmt: skip
SERIAL_BELOW: Final = Act(
    "console.serial-below", "verb('serial_below')", "b", "Serial below",
    "Show its serial port below the list, which goes on living", show=False, needs=True,
)  # fmt: skip
START: Final = Act("vm.start", "verb('start')", "u", "Start", "Power the VM on", needs=True)
POWER: Final = Act(
    "vm.power",
    "verb('power')",
    "p",
    "Power",
    "Start, shut down, pause, reset, kill or delete the VM",
    needs=True,
)
LOG: Final = Act(
    "vm.log",
    "verb('log')",
    "L",
    "Log",
    "QEMU's own output, and the guest's serial port",
    needs=True,
)
DOCTOR_LOOK: Final = Act(
    "console.doctor",
    "verb('doctor')",
    "c",
    "Check",
    "Walk the way to its screen, and name the first broken step",
    show=False,
    needs=True,
)
DETAIL: Final = Act("view.detail", "detail", "d", "Detail", "Show or hide what is known about it")

STOP: Final = Act(
    "vm.stop",
    "choose('stop')",
    "d",
    "Shut down",
    "Ask the guest to power off; 5 s to undo",
    needs=True,
)
REBOOT: Final = Act(
    "vm.reboot",
    "choose('reboot')",
    "b",
    "Reboot",
    "Ask a hypervisor's guest to boot anew; 5 s to undo",
    needs=True,
)
KILL: Final = Act(
    "vm.kill", "choose('kill')", "k", "Kill", "Power off at once; asks first", needs=True
)
DELETE: Final = Act(
    "vm.delete",
    "choose('delete')",
    "D",
    "Delete",
    "Forget a VM that is off; its disks are kept; asks first",
    needs=True,
)
PAUSE: Final = Act(
    "vm.pause", "choose('pause')", "p", "Pause", "Hold it where it is; 5 s to undo", needs=True
)
RESUME: Final = Act(
    "vm.resume",
    "choose('resume')",
    "r",
    "Resume",
    "Let it go on: from a pause, a disk's error, its sleep",
    needs=True,
)
RESET: Final = Act(
    "vm.reset", "choose('reset')", "R", "Reset", "Press its reset button; asks first", needs=True
)
POWER_START: Final = Act(
    "power.start", "choose('start')", "s", "Start", "Power the VM on", needs=True
)

EDIT: Final = Act(
    "vm.edit", "verb('edit')", "e", "Edit", "Change how the VM is defined", needs=True
)
CLONE: Final = Act(
    "vm.clone", "verb('clone')", "c", "Clone", "Make a VM of one that is off", needs=True
)
SNAPSHOTS: Final = Act(
    "vm.snapshots",
    "verb('snapshots')",
    "t",
    "Snapshots",
    "Keep its state, or go back to one that was kept",
    needs=True,
)
SNAPSHOT_TAKE: Final = Act(
    "snapshot.take", "take", "n", "Take", "Keep the present state, memory and disks"
)
SNAPSHOT_REVERT: Final = Act(
    "snapshot.revert", "revert", "enter,r", "Go back", "Go back to that state; asks first"
)
SNAPSHOT_DELETE: Final = Act(
    "snapshot.delete", "delete", "D", "Delete", "Forget that state; asks first"
)
MACHINE_CONSOLE: Final = Act(
    "machine.console",
    "console",
    "enter",
    "Go to console",
    "Select it in the consoles",
    needs=True,
)

DISCONNECT: Final = Act(
    "session.disconnect",
    "disconnect",
    "x",
    "Disconnect",
    "End the selected or the marked sessions; 5 s to undo",
    needs=True,
)
MESSAGE: Final = Act(
    "session.message",
    "message",
    "m",
    "Message",
    "Send a line to the selected or the marked sessions; most viewers only log it",
    needs=True,
)
SESSION_CONSOLE: Final = Act(
    "session.console",
    "console",
    "enter",
    "Go to console",
    "Select its machine in the consoles",
    needs=True,
)
SOURCE_CONSOLES: Final = Act(
    "source.consoles",
    "consoles",
    "enter",
    "Its consoles",
    "Show only this source's consoles",
    needs=True,
)
SOURCE_ADD: Final = Act(
    "source.add", "add_source", "A", "Add", "Add a console elsewhere, or a hypervisor"
)
CONSOLE_ADD: Final = Act(
    "console.add", "add_source", "A", "Add", "Add a console elsewhere, or a hypervisor", show=False
)
SOURCE_EDIT: Final = Act(
    "source.edit",
    "edit",
    "e",
    "Edit",
    "Change its entry in sources.yaml",
    needs=True,
)
SOURCE_FILE: Final = Act(
    "source.file",
    "file",
    "E",
    "File",
    "Open sources.yaml in your editor; what is wrong with it is said here",
    show=False,
)
SOURCE_PAUSE: Final = Act(
    "source.pause",
    "pause",
    "p",
    "Pause",
    "Leave it alone, or go on with it when it is paused",
    needs=True,
)
SOURCE_RETRY: Final = Act(
    "source.retry",
    "retry",
    "R",
    "Retry",
    "Ask this source again, now",
    needs=True,
)
SOURCE_CHECK: Final = Act(
    "source.check",
    "check",
    "c",
    "Check",
    "Log in, list, and see which rights are missing",
    needs=True,
)
SOURCE_REMOVE: Final = Act(
    "source.remove",
    "remove",
    "D",
    "Remove",
    "Take it out of sources.yaml; asks first",
    show=False,
    needs=True,
)
EVENT_CONSOLE: Final = Act(
    "event.console",
    "console",
    "enter",
    "Go to console",
    "Select the machine it is about",
    needs=True,
)
EVENT_FOLLOW: Final = Act(
    "event.follow", "follow", "f", "Follow", "Stay on the newest line as more come"
)
EVENT_EXPORT: Final = Act(
    "event.export", "export", "e", "Export", "Write what is listed to a CSV or JSON file"
)
WORKER_SESSIONS: Final = Act(
    "proxy.sessions",
    "worker_sessions",
    "enter",
    "Sessions",
    "Go to the live sessions",
    needs=True,
)
LOG_SERIAL: Final = Act(
    "log.other", "other", "tab,s", "QEMU/serial", "Switch between QEMU's output and the serial port"
)
LOG_AGAIN: Final = Act("log.again", "again", "r", "Again", "Read or look once more")
COPY: Final = Act("text.copy", "copy", "y", "Copy", "Copy the text to the clipboard")
CLOSE: Final = Act("app.close", "close", "escape,q", "Close", "Close this")

CONSOLES: Final = (
    OPEN, LIVE, SERIAL, EXPORT, START, POWER, LOG, NEW, FIND, DETAIL, DOCTOR_LOOK, DEMO, ADOPT,
    CONSOLE_ADD, WALL, SERIAL_BELOW, SORT, REFRESH, BACK,
)  # fmt: skip
SESSIONS: Final = (SESSION_CONSOLE, DISCONNECT, MESSAGE, FIND, SORT, REFRESH, BACK)
SOURCES: Final = (
    SOURCE_CONSOLES, SOURCE_ADD, SOURCE_EDIT, SOURCE_PAUSE, SOURCE_RETRY, SOURCE_CHECK,
    SOURCE_REMOVE, SOURCE_FILE, FIND, SORT, REFRESH, BACK,
)  # fmt: skip
EVENTS: Final = (EVENT_CONSOLE, EVENT_FOLLOW, EVENT_EXPORT, FIND, SORT, REFRESH, BACK)
POWER_MENU: Final = (POWER_START, STOP, REBOOT, PAUSE, RESUME, RESET, KILL, DELETE, CLOSE)
MACHINE_LOG: Final = (LOG_SERIAL, LOG_AGAIN, COPY, CLOSE)
MACHINES: Final = (
    MACHINE_CONSOLE, START, POWER, NEW, EDIT, CLONE, SNAPSHOTS, LIVE, LOG, FIND, SORT, REFRESH,
    BACK,
)  # fmt: skip
SNAPSHOT_KEYS: Final = (SNAPSHOT_TAKE, SNAPSHOT_REVERT, SNAPSHOT_DELETE, CLOSE)
PROXY: Final = (WORKER_SESSIONS, SORT, REFRESH, BACK)
DOCTOR: Final = (LOG_AGAIN, COPY, CLOSE)
TROUBLE: Final = (COPY, CLOSE)
TEXT: Final = (COPY, CLOSE)

WALL_KEYS: Final = (
    Act("wall.live", "live", "enter,l", "Live", "That machine's screen, with keyboard and mouse"),
    Act("wall.left", "step(-1, 0)", "left,h", "Left", "The tile to the left", show=False),
    Act("wall.right", "step(1, 0)", "right", "Right", "The tile to the right", show=False),
    Act("wall.up", "step(0, -1)", "up,k", "Up", "The tile above", show=False),
    Act("wall.down", "step(0, 1)", "down,j", "Down", "The tile below", show=False),
    Act("wall.next", "page(1)", "n,pagedown", "Next page", "The next page of machines"),
    Act("wall.previous", "page(-1)", "p,pageup", "Page back", "The page of machines before"),
    Act("wall.larger", "larger(1)", "plus", "Larger", "Larger tiles"),
    Act("wall.smaller", "larger(-1)", "minus", "Smaller", "Smaller tiles"),
    Act("wall.sort", "sort", "S", "Sort", "Those that changed last first, now", show=False),
    CLOSE,
)

OF_POWER: Final = (START, STOP, PAUSE, RESUME, RESET, KILL, DELETE)
"""In the order of the menus."""

SETTINGS_CHANGE: Final = Act(
    "settings.change",
    "change",
    "enter",
    "Change",
    "Choose it, show it, or press another key",
    needs=True,
)
SETTINGS_EARLIER: Final = Act(
    "settings.earlier",
    "shift(-1)",
    "K,shift+up",
    "Earlier",
    "That column further left",
    needs=True,
)
SETTINGS_LATER: Final = Act(
    "settings.later",
    "shift(1)",
    "J,shift+down",
    "Later",
    "That column further right",
    needs=True,
)
SETTINGS_KEYS: Final = (
    SETTINGS_CHANGE,
    Act(
        "settings.more",
        "more",
        "plus",
        "One more key",
        "Give it another key beside those it has",
        needs=True,
    ),
    Act(
        "settings.default",
        "default",
        "backspace,delete",
        "As it comes",
        "Forget what was chosen",
        needs=True,
    ),
    SETTINGS_EARLIER,
    SETTINGS_LATER,
    FIND,
    SORT,
    BACK,
)

SCREENS: Final = {
    "Consoles": CONSOLES,
    "Wall": WALL_KEYS,
    "Sessions": SESSIONS,
    "Sources": SOURCES,
    "Events": EVENTS,
    "Proxy": PROXY,
    "Machines": MACHINES,
    "Power": POWER_MENU,
    "Doctor": DOCTOR,
    "Log": MACHINE_LOG,
    "Trouble": TROUBLE,
    "Snapshots": SNAPSHOT_KEYS,
    "Settings": SETTINGS_KEYS,
}
"""Every screen with keys of its own, by the name the help gives it."""


def _every_act() -> dict[str, Act]:
    groups = (*SCREENS.values(), TABLE, APP)
    return {act.id: act for group in groups for act in group}


ALONE: Final = frozenset({"Wall", "Power", "Log", "Doctor", "Trouble", "Snapshots"})
"""Screens over which neither lists' nor pages' keys hold."""

BY_ID: Final = _every_act()
"""All acts by id, in the order of the help."""
