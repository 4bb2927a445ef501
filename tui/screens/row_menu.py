"""The menu of a row, on any page with a list: its acts, for the row meant when it opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from textual import on

from broker import human
from broker.human import counted
from broker.service.info import ConsoleInfo
from tui import keys
from tui.act import Act, verb_of
from tui.allowed import why_not
from tui.screens.page import Page
from tui.widgets.table import VirtualTable

if TYPE_CHECKING:
    from tui.screens.menu import Item


class RowMenu(Page):
    """A page whose rows have a menu."""

    @property
    def table(self) -> VirtualTable[Any, Any]:
        """The list."""
        raise NotImplementedError

    def settle(self) -> None:
        """Have the list follow what was typed."""
        raise NotImplementedError

    def machines(self) -> Sequence[ConsoleInfo]:
        """The marked rows, or the one under the cursor, where rows are machines."""
        return ()

    @on(VirtualTable.Asked)
    def _asked(self) -> None:
        from tui.screens.menu import MenuScreen

        self.settle()
        held, infos = self.table.key, self.machines()
        if held is None and not infos:
            return

        def chosen(act: Act | None) -> None:
            if act is None:
                return
            if infos and act in keys.OF_POWER:
                self.host.do_all(verb_of(act), [info.machine.key for info in infos])
            elif self.table.key == held:
                self.call_later(self.run_action, act.action)
            else:
                self.notify("That row has gone", severity="warning", markup=False)

        self.app.push_screen(MenuScreen(self._title(infos), self._items(infos)), chosen)

    def _title(self, infos: Sequence[ConsoleInfo]) -> str:
        if len(infos) == 1:
            return human.one_line(infos[0].machine.full_name)
        marks = len(infos) or len(self.table.marks) or 1
        return counted(marks, self.NAME[:-1] if self.NAME.endswith("s") else "row")

    def _items(self, infos: Sequence[ConsoleInfo]) -> list[Item]:
        """What can be done to rows, power and all; to many, only verbs of power."""
        acts: list[Act] = []
        for act in keys.SCREENS[self.NAME.capitalize()]:
            if act is keys.POWER:
                acts += [each for each in keys.OF_POWER if each is not keys.START]
            elif act.needs:
                acts.append(act)
        if len(infos) > 1:
            acts = [act for act in acts if act in keys.OF_POWER]
        return [self._item(act, infos) for act in acts]

    def _item(self, act: Act, infos: Sequence[ConsoleInfo]) -> Item:
        from tui.screens.menu import Item

        verb = verb_of(act)
        if not infos or not verb:
            return Item(act, act.help, self.dimmed(act))
        reasons = [human.one_line(why_not(verb, info)) for info in infos]
        if len(infos) == 1:
            return Item(act, reasons[0] or act.help, bool(reasons[0]))
        able = reasons.count("")
        return Item(act, f"{able} of {len(infos)}: {act.help}", not able)
