"""What a person has written of a VM so far, and what the service said to it. No Textual.

Fields and YAML are two ways into one document. YAML that is none yet is kept beside it.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import asdict

from broker.model import MachineKey, MachineSpec
from broker.provisioning import VmDraft
from broker.service.port import Service
from tui.wizard.items import FIRST_DISK, ITEMS, Document, Item, item_at

DEMO = "demo"
"""What is typed for the disk of the demo guest."""


class Sheet:
    """The document and its judgement.

    Attributes:
        known: The VM that is there; None for a new one.
        uuid: What a new one gets.
        draft: What the service said last; None before it said anything.
        raw: YAML that was typed and is not in the document: not judged yet, or no YAML.
    """

    def __init__(
        self,
        demo: MachineSpec | None,
        known: MachineKey | None = None,
        present: VmDraft | None = None,
    ) -> None:
        self.known = known
        self.uuid = str(uuid.uuid4())
        self.draft = present
        self.raw: str | None = None
        self.is_stale = True
        """Something was typed since it was judged."""
        values = present.values if present is not None else {}
        self.document: Document = {"memory": 1024, "cpus": 1, **values}
        self._begun = json.dumps(self.document)
        self._touched = set(ITEMS) if present is not None else set()
        self._demo = demo
        self._written = 0
        self._judging = asyncio.Lock()

    @property
    def is_changed(self) -> bool:
        """Whether anything was typed that would be lost."""
        return self.raw is not None or json.dumps(self.document) != self._begun

    @property
    def text(self) -> str:
        """The YAML, as it was typed or as it would be."""
        if self.raw is not None:
            return self.raw
        return self.draft.text if self.draft is not None else ""

    def touch_all(self) -> None:
        """Tell every mistake from now on."""
        self._touched |= set(ITEMS)

    def write(self, item: Item, text: str) -> None:
        """A field says something else."""
        self.is_stale = True
        self._written += 1
        self._touched.add(item.id)
        if item is FIRST_DISK[0] and self._demo is not None:
            if text.strip() == DEMO:
                self._take_demo(self._demo)
                return
            if self._is_demo(self._demo):
                for key in ("disks", "accel"):
                    self.document.pop(key, None)
        item.write(self.document, text)

    def _take_demo(self, demo: MachineSpec) -> None:
        """Its disk, and what it runs best on."""
        disk = {key: value for key, value in asdict(demo.disks[0]).items() if value is not None}
        self.document["disks"] = [disk | {"bus": demo.disks[0].bus.value}]
        self.document["accel"] = demo.accel.value

    def _is_demo(self, demo: MachineSpec) -> bool:
        disks = self.document.get("disks")
        first = disks[0] if isinstance(disks, list) and disks else None
        return isinstance(first, dict) and first.get("path") == demo.disks[0].path

    async def judge(self, service: Service) -> bool:
        """Have it judged as it is now; whether YAML became the document, so that fields differ."""
        async with self._judging:  # else an answer that comes late would stand for what is now
            return await self._judge(service)

    async def _judge(self, service: Service) -> bool:
        raw, begun = self.raw, self._written
        if raw is not None:
            self.draft = await service.draft(raw or "{}", known=self.known)
            if not self.draft.values and raw.strip():
                self.is_stale = False
                return False
            self.document = {k: v for k, v in self.draft.values.items() if k != "uuid"}
            self.touch_all()
            if self.raw == raw:
                self.raw = None
        text = json.dumps(self.document | ({"uuid": self.uuid} if self.known is None else {}))
        self.draft = await service.draft(text, known=self.known)
        self.is_stale = self._written != begun
        return raw is not None

    def mistakes(self) -> list[str]:
        """All that is wrong and was touched, each with its place: where no field can tell it."""
        return [
            f"{place} {why}".strip()
            for place, why in (self.draft.wrong if self.draft is not None else ())
            if (id_ := item_at(place, why)) in self._touched or not id_
        ]

    def wrong(self) -> tuple[dict[str, str], list[str]]:
        """What is wrong by field, of those that were touched; all that belongs to no field."""
        known: dict[str, str] = {}
        rest: list[str] = []
        for place, why in self.draft.wrong if self.draft is not None else ():
            id_ = item_at(place, why)
            if not id_:
                rest.append(f"{place} {why}".strip())
            elif id_ in self._touched:
                known.setdefault(id_, why)
        return known, rest
