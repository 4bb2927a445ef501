"""The application: pages, what they share, and the life of the service behind them.

It paints first, from a list that was cheap to get, and opens the service afterwards. What a person
asks for meanwhile waits for the service. What is done to machines is `acting`'s half of the class.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual import work
from textual.app import SystemCommand
from textual.binding import BindingType
from textual.command import CommandPalette
from textual.driver import Driver
from textual.events import Event
from textual.filter import LineFilter
from textual.reactive import var
from textual.screen import Screen
from textual.theme import Theme
from textual.widgets import Input

from broker.errors import BrokerError
from broker.human import counted
from broker.model import MachineKey
from broker.service.info import ConsoleInfo
from tui import keymap, keys, pages, themes
from tui.act import spell
from tui.acting import Acting
from tui.catalog import Catalog
from tui.checkup import Checkups, Verdict
from tui.driver import GuestKey
from tui.glyphs import ASCII, UNICODE, Glyphs
from tui.host import Captor
from tui.jobs import Jobs
from tui.jumping import go_to, places_of
from tui.life import Leave, Life, More, OpenService
from tui.plain import Plain
from tui.pressed import serving
from tui.screens.consoles import ConsolesScreen
from tui.screens.listing import Listing
from tui.snapshot import Snapshot
from tui.stylesheet import RememberingStylesheet
from tui.undo import UNDO_SECONDS, Undo

if TYPE_CHECKING:
    from broker.model import MachineSpec
    from broker.service.port import Service

T = TypeVar("T")


class BrokerApp(Acting):
    """Consoles of all sources, one keypress from their screens."""

    TITLE = "Console Broker"
    CSS_PATH = "styles/app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.APP]
    COMMANDS = {pages.commands}  # noqa: RUF012 - Textual declares it as an instance's
    DEFAULT_MODE = "consoles"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - Textual declares it as an instance's
        (0, "-narrow"),
        (120, "-wide"),
        (200, "-huge"),
    ]

    snapshot: var[Snapshot] = var(Snapshot, init=False, always_update=True)
    """What the service said last."""
    busy: var[tuple[str, ...]] = var((), init=False)
    """Labels of what is under way."""

    def __init__(
        self,
        open_service: OpenService,
        *,
        initial: Sequence[ConsoleInfo] | None = None,
        more: More | None = None,
        now: Callable[[], datetime],
        preload: Callable[[], object] | None = None,
        glyphs: Glyphs = UNICODE,
        demo: Callable[[], MachineSpec | None] = lambda: None,
        start_demo: bool = False,
        log_path: Path | None = None,
        obey_signals: bool = False,
        readonly: bool = False,
        undo_seconds: float = UNDO_SECONDS,
        theme: str = themes.DARK.name,
        columns: Sequence[str] | None = None,
        warnings: Sequence[str] = (),
        driver_class: type[Driver] | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            open_service: Entered after the first paint, left when the person quits.
            initial: A list to show at once; None when there is none to be had cheaply.
            more: `initial` is the beginning of a longer list, and this gets more; see `Life.run`.
            preload: Heavy imports; called in a thread after the first paint.
            demo: Asked for the demo guest when it is first wanted.
            start_demo: Have it running.
            log_path: Where the log is, for people to find.
            readonly: Nothing may be changed, and viewers may look only.
            undo_seconds: How long what can be undone waits.
            theme: The name of a theme.
            columns: Titles of the columns of the list, in order; None shows all there is room for.
            warnings: What was odd about the person's settings; said once.
            obey_signals: SIGINT, SIGTERM and SIGHUP quit, with the terminal put back in order.
            driver_class: What has the terminal; None leaves it to Textual.
        """
        super().__init__(driver_class=driver_class)
        self.stylesheet = RememberingStylesheet(variables=self.get_css_variables())
        self.now = now
        self.glyphs = glyphs
        self._plain = Plain()
        spell(out=glyphs is ASCII)
        self._make_demo = demo
        self.log_path = log_path
        self.catalog = Catalog()
        self.proxy_problem: BrokerError | None = None
        self.captor: Captor | None = None
        self.farewell = ""
        """What to say on the terminal after the app has gone."""
        self._open_service = open_service
        self._before_it_opens = (more, preload)
        self._start_demo = start_demo
        self._obey_signals = obey_signals
        self._checkups: Checkups | None = None
        self.readonly = readonly
        self._undo = Undo(self, seconds=undo_seconds, key=lambda: keys.UNDO.sign)
        for name in pages.EVERY:
            self.add_mode(name, partial(pages.page, name, self))
        for one in themes.BY_NAME.values():
            self.register_theme(one)
        self.theme = theme
        self.columns = None if columns is None else tuple(title.upper() for title in columns)
        self._warnings = warnings
        if initial is not None:
            self.catalog.apply(initial)
            self.set_reactive(
                BrokerApp.snapshot, Snapshot(consoles=list(initial), partial=more is not None)
            )

    @cached_property
    def _life(self) -> Life:
        """Made by whoever asks first: a page that shows a list at once is there before us."""
        return Life(self, self._open_service)

    @cached_property
    def _jobs(self) -> Jobs:
        return Jobs(self, self._life.service, log_path=self.log_path, changed=self._show_busy)

    @property
    def _background_screens(self) -> list[Screen[object]]:
        """Screens that show through the top one; Textual counts the next one also behind a wall."""
        opaque = self._screen_stack[-1].styles.background.a == 1
        return [] if opaque else super()._background_screens

    @property
    def available_themes(self) -> dict[str, Theme]:
        """The themes whose every state was looked at."""
        ours = themes.BY_NAME
        return ours if self.theme in ours else super().available_themes

    def get_theme(self, theme_name: str) -> Theme | None:
        """A theme by name; asked for with each line that is painted."""
        return themes.BY_NAME.get(theme_name) or super().get_theme(theme_name)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Draw with ASCII where marks are ASCII."""
        filters = super().get_line_filters()
        return [*filters, self._plain] if self.glyphs is ASCII else filters

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """State colours for themes that know none."""
        return themes.STATES_DARK if self.current_theme.dark else themes.STATES_LIGHT

    def on_mount(self) -> None:
        """Paint, then open the service."""
        self._checkups = Checkups(self, self._life.service, self._checked)
        self.set_keymap(keymap.bound())
        self._jobs.note(self._warnings, "Settings")
        self.call_after_refresh(self._live)
        self._import_the_rest()
        if self._obey_signals:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self._signalled, number)
        if self._start_demo and self.demo is not None:
            self.start_demo()

    @cached_property
    def demo(self) -> MachineSpec | None:
        """The demo guest, also offered as an image in the new VM form."""
        return self._make_demo()

    @work(group="service", exit_on_error=False, name="service")
    async def _live(self) -> None:
        await self._life.run(*self._before_it_opens)
        if self._life.leaving.done():
            self._add_farewell("cut short: ", self._jobs.changing)
            self.exit()

    @work(group="imports", exit_on_error=False, name="imports")
    async def _import_the_rest(self) -> None:
        await asyncio.wait([self._life.service])
        await pages.import_the_rest()

    # -- what the service says (life.Watcher) ------------------------------------------------

    def receive(self, snapshot: Snapshot) -> None:
        """Show it; screens watch `snapshot`."""
        if snapshot.consoles is not None and snapshot.consoles is not self.snapshot.consoles:
            self.catalog.apply(snapshot.consoles, snapshot.changed)
            if self.snapshot.partial:
                gc.freeze()  # many rows that stay: looking through them again is waste
        if snapshot.proxy is not None and snapshot.proxy.serving:
            self.proxy_problem = None
        self._jobs.note(snapshot.notes)
        self.snapshot = snapshot

    def no_proxy(self, problem: BrokerError) -> None:
        """Say why, and go on."""
        self.proxy_problem = problem
        self._jobs.say(problem)
        self.receive(self.snapshot)

    def lost(self, problem: BrokerError, cause: BaseException | None) -> None:
        """Keep what was read; say why there is no more."""
        if self._life.leaving.done():
            self.farewell = str(problem)
            return
        self.proxy_problem = problem
        kept = self.snapshot.consoles or ()
        self.receive(replace(self.snapshot, problem=problem, consoles=kept))
        if cause is None:
            self._jobs.say(problem)
        else:
            self._jobs.trouble(cause)

    def _show_busy(self) -> None:
        self.busy = tuple(self._jobs.running)

    def _checked(self) -> None:
        if isinstance(self.screen, ConsolesScreen):
            self.screen.checked()

    # -- what screens ask for (host.Host) ----------------------------------------------------

    def ask(
        self,
        label: str,
        work: Callable[[Service], Awaitable[T]],
        done: Callable[[T], None] | None = None,
        failed: Callable[[str], None] | None = None,
        *,
        looks: bool = False,
        of: Hashable = None,
    ) -> None:
        """Ask the service in the background; see `jobs.Jobs.run`."""
        self._jobs.run(label, work, done, failed, looks=looks, of=of)

    def checkup(self, info: ConsoleInfo) -> Verdict | None:
        """How the way to a console was found lately; begins a look where that is due."""
        return self._checkups.of(info) if self._checkups is not None else None

    def show_console(self, key: MachineKey) -> None:
        """Go to the consoles with that machine selected, now or when it appears."""
        self.action_go("consoles")
        if isinstance(self.screen, ConsolesScreen):
            self.screen.select(key)

    def show_filtered(self, text: str) -> None:
        """Go to the consoles with that filter."""
        self.action_go("consoles")
        if isinstance(self.screen, ConsolesScreen):
            self.screen.filter_by(text)

    async def served(self) -> Service:
        """The service, once it is open."""
        return await asyncio.shield(self._life.service)

    async def on_event(self, event: Event) -> None:
        """A guest's screen has keys before any binding does."""
        if self.captor is not None and self.captor.take(event):
            return
        if isinstance(event, GuestKey):  # the guest's screen is gone, or lies below a menu
            for key in event.plain:
                await self.on_event(key)
            return
        with serving(event):
            await super().on_event(event)

    # -- keys --------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Letters are letters while one types; behind a dialog nothing moves."""
        if action == "jump":
            return getattr(self.screen, "CAN_JUMP", True) and not isinstance(
                self.screen, CommandPalette
            )
        if action == "command_palette":
            return not isinstance(self.focused, Input) and not self.screen.is_modal
        return True

    def action_go(self, page: str) -> None:
        """To another page."""
        if self.current_mode != page:
            self.switch_mode(page)

    def action_help(self) -> None:
        """The keys of where one is."""
        from tui.screens.help import HelpScreen

        screen = self.screen
        name = getattr(screen, "KEYS", self.current_mode.capitalize())
        fields = tuple(screen.known()) if isinstance(screen, Listing) else ()
        self.push_screen(HelpScreen(name, self.glyphs, fields))

    def action_help_quit(self) -> None:
        """What ctrl+c says: it is too easily hit to end sessions with."""
        self.notify(f"{keys.QUIT.sign} quits", markup=False)

    def action_explain(self) -> None:
        """Why the top line is not happy."""
        for problem in (self.snapshot.problem, self.proxy_problem):
            if problem is not None:
                self._jobs.say(problem)
                return

    async def action_quit(self) -> None:
        """Leave; ask first when sessions run through the proxy that we host."""
        if not self.is_running or self._life.leaving.done():
            self.exit()  # asked twice: leaving takes too long for this person
            return
        proxy, sessions = self.snapshot.proxy, self.snapshot.sessions
        if proxy is not None and proxy.serving and proxy.ours and sessions:
            from tui.screens.quit import QuitScreen

            self.push_screen(QuitScreen(sessions), self._leave)
        else:
            self._leave(Leave.KEEP)

    def _leave(self, leave: Leave | None) -> None:
        if leave is None or self._life.leaving.done():
            return
        if leave is Leave.KEEP and self.snapshot.sessions:
            kept = counted(len(self.snapshot.sessions), "session")
            self.farewell = f"{kept} kept; the proxy goes when the last one ends"
        self._add_farewell("not done: ", self._undo.drop_all())
        self._life.leaving.set_result(leave)
        if self._life.is_open:
            self.busy = (*self.busy, "Leaving")
        else:
            self.exit()

    def _add_farewell(self, lead: str, labels: Sequence[str]) -> None:
        if labels:
            self.farewell = f"{self.farewell}\n{lead}{', '.join(labels)}".lstrip("\n")

    def _signalled(self, number: signal.Signals) -> None:
        lent = asyncio.get_running_loop().time() < self.lent_until
        if not (lent and number == signal.SIGINT):
            self.quit_from_outside()

    def quit_from_outside(self) -> None:
        """A signal asks us to go: sessions are kept, nobody is asked."""
        self._leave(Leave.KEEP)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the palette offers beside consoles."""
        from tui.commands import everywhere

        return everywhere(self, screen)

    def action_jump(self) -> None:
        """Letters on all places of this screen."""
        from tui.screens.jump import JumpScreen

        if places := places_of(self.screen):
            self.push_screen(JumpScreen(places), go_to)

    def search_themes(self) -> None:
        """Colours by name; the one that is taken is kept."""
        from tui.keeping import Themes

        self.push_screen(CommandPalette(providers=[Themes], placeholder="dark, light, contrast"))

    def action_command_palette(self) -> None:
        """Everything there is to do, by name."""
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(CommandPalette(placeholder="kill web-01, go to sessions, theme"))
