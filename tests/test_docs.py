"""What the documents say is so: links lead somewhere, names exist, nothing is left out."""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import re
import tomllib
from argparse import Action
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import yaml

from broker.cli import commands
from broker.cli.args import Parser
from broker.cli.main import load, main
from broker.config.load import load_settings
from broker.config.locations import Locations
from broker.config.sources_file import read_sources
from broker.driver import DriverContext
from broker.events import Kind
from broker.vm import schema
from broker.vm.machine_file import DiskFile, MachineFile
from sources.libvirt.driver import LibvirtDriver
from sources.local import OPTIONS as LOCAL_OPTIONS
from sources.openstack import OpenstackDriver
from sources.options import option_names
from sources.ovirt import OvirtDriver
from sources.proxmox import ProxmoxDriver
from sources.shakenfist import ShakenfistDriver
from sources.static import ConsoleOptions, StaticDriver

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
MAKEFILE = (ROOT / "Makefile").read_text()


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ +(.+?) *$", prose(text), flags=re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors that a forge makes of headings."""
    plain = (re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading.lower()) for heading in headings(text))
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def links(path: Path) -> Iterator[str]:
    yield from re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text()))


def code(path: Path) -> Iterator[str]:
    """Lines of fenced blocks and code spans."""
    text = path.read_text()
    for block in re.findall(r"^ *```\w*\n(.*?)^ *```$", text, flags=re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text)))


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_link_leads_somewhere(path: Path) -> None:
    lost = []
    for link in links(path):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            lost.append(link)
    assert not lost


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in DECISIONS]
    assert numbers == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("path", DECISIONS, ids=named)
def test_a_decision_is_one_page_with_all_its_parts(path: Path) -> None:
    text = path.read_text()
    title, *parts = headings(text)
    assert title.startswith(f"{int(path.name[:4])}. ")
    assert parts == ["Context", "Decision", "Consequences", "What would make us look again"]
    assert len(text.splitlines()) <= 60


@pytest.mark.parametrize("path", DECISIONS, ids=named)
def test_the_architecture_links_every_decision_by_its_title(path: Path) -> None:
    title = headings(path.read_text())[0].partition(". ")[2]
    assert f"[{title}]({named(path)})" in (ROOT / "ARCHITECTURE.md").read_text()


class Written(NamedTuple):
    """What the product's modules say, as far as documents have to go along."""

    codes: set[str]
    """What stands after `code =` in classes of errors."""
    reasons: set[str]
    """Of refusals."""
    texts: set[tuple[str, str]]
    """Every text and where; NAME stands for what is filled in."""


@functools.cache
def written() -> Written:
    found = Written(set(), set(), set())
    for wing in ("broker", "tui", "sources"):
        for path in sorted((ROOT / wing).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                note(node, named(path), found)
    return found


def note(node: ast.AST, where: str, found: Written) -> None:
    match node:
        case ast.Constant(value=str(text)):
            found.texts.add((where, text))
        case ast.JoinedStr():
            parts = (getattr(each, "value", None) for each in node.values)
            text = "".join(each if isinstance(each, str) else "NAME" for each in parts)
            found.texts.add((where, text))
        case ast.ClassDef():
            for each in node.body:
                match each:
                    case ast.Assign(targets=[ast.Name(id="code")], value=value):
                        found.codes.update(texts_of(value))
        case ast.Call(func=ast.Name(id="TurnedAway"), args=[first, *_]):
            found.reasons.update(texts_of(first))
        case ast.Call(func=ast.Name(id="Refused" | "BackendDenied" | "BackendForbidden")):
            for given in node.keywords:
                if given.arg == "reason":
                    found.reasons.update(texts_of(given.value))


def texts_of(node: ast.AST) -> Iterator[str]:
    """The texts that an expression may be, as far as they are written there."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp():
            yield from texts_of(node.body)
            yield from texts_of(node.orelse)


def test_every_error_code_has_its_heading() -> None:
    codes = written().codes
    assert {"broker-error", "usage", "backend-denied", "not-said"} <= codes
    assert codes <= set(headings((ROOT / "docs" / "troubleshooting.md").read_text()))


def test_every_reason_of_a_refusal_is_explained_and_no_other() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    section = page.partition("### refused\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", section, flags=re.MULTILINE)
    told = {word for row in rows for word in re.findall(r"`([^`]+)`", row)}
    reasons = written().reasons
    assert {"token-used", "display-init", "backend-ticket", "not-ours"} <= reasons
    assert reasons <= told <= {text for _, text in written().texts}


def test_every_kind_of_event_is_explained() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert [kind for kind in Kind if f"`{kind}`" not in page] == []


def settings_page() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "settings_page", ROOT / "docs" / "settings_page.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_setting_is_documented_as_it_is() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert settings_page().replaced(page) == page, "run: make docs"


def rooms() -> list[str]:
    found = (path for path in (ROOT / "broker").iterdir() if not path.name.startswith("_"))
    return sorted(path.name + "/" * path.is_dir() for path in found)


@pytest.mark.parametrize("room", rooms())
def test_the_architecture_knows_every_room(room: str) -> None:
    assert f"`{room}`" in (ROOT / "ARCHITECTURE.md").read_text()


@pytest.mark.parametrize("command", [command.words for command in commands.COMMANDS])
def test_every_command_is_in_the_command_page(command: str) -> None:
    assert any(
        f"broker {command}" in heading or command == heading.strip("`")
        for heading in headings((ROOT / "docs" / "cli.md").read_text())
    )


def test_every_key_of_a_json_document_is_in_the_command_page() -> None:
    tree = ast.parse((ROOT / "broker" / "cli" / "jsonable.py").read_text())
    shown = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    keys = {text for node in shown for key in node.keys if key for text in texts_of(key)}
    page = (ROOT / "docs" / "cli.md").read_text()
    assert {"hypervisor_ip", "monitor_held", "latency_ms"} <= keys
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


@pytest.mark.parametrize(
    ("room", "document"), [("service/doctor.py", "cli.md"), ("cli/smoke_steps.py", "ci.md")]
)
def test_every_step_of_a_look_is_explained(room: str, document: str) -> None:
    steps = re.findall(r'\bCheck\(\s*"([^"]+)"', (ROOT / "broker" / room).read_text())
    page = (ROOT / "docs" / document).read_text()
    assert "proxy" in steps
    assert [step for step in steps if f"`{step}`" not in page] == []


def test_every_metric_is_explained() -> None:
    text = (ROOT / "broker" / "runtime" / "metrics.py").read_text()
    metrics = set(re.findall(r'"(broker_[a-z_]+)"', text))
    page = (ROOT / "docs" / "latency.md").read_text()
    assert "broker_sessions" in metrics
    assert [metric for metric in sorted(metrics) if metric not in page] == []


def sections(page: str) -> dict[str, str]:
    """What stands under each heading of the third level."""
    _, *found = re.split(r"^### +(.+?) *$", page, flags=re.MULTILINE)
    return dict(zip(found[::2], found[1::2], strict=True))


@pytest.mark.parametrize("words", [command.words for command in commands.COMMANDS])
def test_every_option_is_in_the_section_of_its_command(words: str) -> None:
    section = sections((ROOT / "docs" / "cli.md").read_text())[f"broker {words}"]
    command = commands.find(words)
    assert command is not None
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", section))
    if "(#broker-vm-define)" in section:
        told |= set(commands.MACHINE_OPTIONS)
    assert set(command.options) - told == set()


def choices_of(action: Action) -> list[str]:
    return [str(each) for each in action.choices or ()]


@pytest.mark.parametrize("command", commands.COMMANDS, ids=lambda command: command.words)
def test_completion_knows_every_word_that_a_command_takes(command: commands.Command) -> None:
    verb = load(command)
    parser = Parser(command.words, command.help, verb.details)
    verb.arguments(parser)
    words = [choices_of(action) for action in parser._actions if not action.option_strings]
    for kind, offered in zip(command.takes.split(), words, strict=False):
        if offered:
            assert set(offered) == set(kind.split("|"))


def spoken_commands(path: Path) -> list[str]:
    """Each `broker …` that a document shows."""
    return [
        f"broker {words.strip()}"
        for line in code(path)
        for words in re.findall(r"(?:^|[\s$&|])broker ((?:[^|&#;]|&&)*)", line)
    ]


PROSE = frozenset({"of", "that", "with"})
"""Words that may follow the program's name in a sentence."""


def commands_in_texts() -> list[tuple[str, str]]:
    """Each `broker …` in a text of the program that tells what to type, and where."""
    return [
        (where, f"broker {words.strip()}")
        for where, text in sorted(written().texts)
        for words in re.findall(r"(?:: |`|^  |\$\()broker ([a-z-][^\n`|&#;,.')]*)", text, re.M)
        if words.split()[0] not in PROSE
    ]


def unknown_in(line: str) -> str:
    """What of a command line there is not; empty when all of it is."""
    words = [word for word in line.split()[1:] if word not in ("…", "2>&1")]
    before = []
    while words and words[0].startswith("-"):
        before.append(words.pop(0))
        if before[-1] == "--home":
            words.pop(0)
    if not words or words[0] == "COMMAND":
        return ""
    group = words[0] in commands.GROUPS
    if group and len(words) == 1:
        return ""
    command = commands.find(" ".join(words[: 1 + group]))
    if command is None:
        return line
    options = {word.partition("=")[0] for word in [*before, *words] if word.startswith("--")} - {
        "--"
    }
    known = {*command.options, *commands.GLOBAL_OPTIONS, *commands.COMMON_OPTIONS}
    return ", ".join(options - known)


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_documents_show_only_commands_and_options_that_exist(path: Path) -> None:
    assert [line for line in spoken_commands(path) if unknown_in(line)] == []


def test_texts_of_the_program_name_only_commands_and_options_that_exist() -> None:
    told = commands_in_texts()
    assert "broker vm start NAME" in {line for _, line in told}
    assert [(where, line) for where, line in told if unknown_in(line)] == []


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / ".ci" / "run"], ids=named)
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    lines = code(path) if path.suffix == ".md" else path.read_text().splitlines()
    spoken = {
        word
        for line in lines
        for words in re.findall(r"(?:^|[`$] ?)make ((?:[a-z-]+ ?)+)", line)
        for word in words.split()
    }
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
    assert spoken <= targets


def test_make_help_explains_every_target_for_people() -> None:
    inner = {"system-run", "system-test", "system-bench", "system-picture", "venv-run", "venv-dev"}
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
    explained = set(re.findall(r"^([a-z-]+):.*## .+", MAKEFILE, flags=re.MULTILINE))
    assert targets - inner == explained


@pytest.mark.parametrize(
    "path", sorted(each for each in (ROOT / "examples").rglob("*") if each.is_file()), ids=named
)
def test_every_example_is_read_without_a_complaint(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BROKER_HOME", str(tmp_path))
    home = Locations.from_env()
    home.prepare()
    ours = home.broker_yaml if path.name == "broker.yaml" else home.sources_yaml
    ours.write_bytes(path.read_bytes())
    ours.chmod(0o600)
    assert main(["config", "check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "problems": [], "warnings": []}


def test_the_example_of_settings_can_be_loaded(tmp_path: Path) -> None:
    home = Locations.from_env({"BROKER_HOME": str(tmp_path)})
    home.prepare()
    home.broker_yaml.write_text((ROOT / "examples" / "broker.yaml").read_text())
    loaded = load_settings(home, env={})
    assert loaded.settings.proxy.public_host == "console.lab.example"
    assert loaded.warnings == ()


async def test_the_example_of_sources_can_be_listed(tmp_path: Path) -> None:
    ours = tmp_path / "sources.yaml"
    ours.write_bytes((ROOT / "examples" / "sources.yaml").read_bytes())
    ours.chmod(0o600)
    read = read_sources(ours)
    assert [entry.name for entry in read.entries] == ["debug", "lab", "here"]
    assert read.warnings == ()
    context = DriverContext(tmp_path, tmp_path, tmp_path)
    names = []
    for entry in read.entries[:2]:
        driver = StaticDriver.from_options(entry.name, entry.options, context)
        names += [machine.name for machine in await driver.machines()]
        assert driver.warnings == ()
        await driver.aclose()
    assert names == ["sextant", "build-01"]


@pytest.mark.parametrize("key", [*ConsoleOptions.model_fields, *LOCAL_OPTIONS])
def test_every_option_of_a_source_has_its_row(key: str) -> None:
    assert f"\n| `{key}` | " in (ROOT / "docs" / "sources-yaml.md").read_text()


REMOTE = {
    driver.type: driver
    for driver in (LibvirtDriver, OpenstackDriver, OvirtDriver, ProxmoxDriver, ShakenfistDriver)
}


def test_every_driver_of_a_hypervisor_is_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = project["entry-points"]["broker.sources"]
    for name, driver in REMOTE.items():
        assert found[name] == f"{driver.__module__}:{driver.__name__}"


@pytest.mark.parametrize("type_name", REMOTE)
def test_every_option_of_a_hypervisor_is_on_its_page(type_name: str) -> None:
    page = (ROOT / "docs" / "sources" / f"{type_name}.md").read_text()
    assert [
        key for key in option_names(REMOTE[type_name].options_model) if f"`{key}`" not in page
    ] == []


@pytest.mark.parametrize("type_name", REMOTE)
async def test_the_example_of_a_hypervisor_is_good_and_on_its_page(
    type_name: str, tmp_path: Path
) -> None:
    example = (ROOT / "examples" / "sources" / f"{type_name}.yaml").read_text()
    page = (ROOT / "docs" / "sources" / f"{type_name}.md").read_text()
    assert f"```yaml\n{example}```" in page
    ours = tmp_path / "sources.yaml"
    ours.write_text(example)
    (entry, _) = read_sources(ours).entries
    assert entry.type == type_name
    context = DriverContext(tmp_path, tmp_path, tmp_path)
    driver = REMOTE[entry.type].from_options(entry.name, entry.options, context)
    assert driver.warnings == ()
    await driver.aclose()


@pytest.mark.parametrize("key", [*MachineFile.model_fields, *DiskFile.model_fields])
def test_every_key_of_a_vm_is_on_its_page(key: str) -> None:
    assert f"`{key}`" in (ROOT / "docs" / "machines.md").read_text()


def test_the_examples_of_vms_can_be_read() -> None:
    page = (ROOT / "docs" / "machines.md").read_text()
    examples = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(examples) == 2
    for example in examples:
        # Relative paths are made absolute by the command, from the file's directory.
        text = re.sub(r"((?:path|backing|cdrom): )(\w)", r"\1/\2", example)
        text = re.sub(r"^(    backing: .*)$", r"\1\n    backing_format: qcow2", text, flags=re.M)
        schema.parse(f"{text}uuid: 6f4e2c1a-0000-4000-8000-000000000001\n", where="example")


def test_the_workflow_runs_commands_that_there_are() -> None:
    text = (ROOT / "docs" / "ci" / "smoke.yml").read_text()
    steps = yaml.safe_load(text)["jobs"]["smoke"]["steps"]
    assert any(str(step.get("run", "")).startswith("broker smoke") for step in steps)
    smoke = commands.find("smoke")
    assert smoke is not None
    used = {word for line in re.findall(r"broker smoke (.*)", text) for word in line.split()}
    assert {word for word in used if word.startswith("--")} <= set(smoke.options)
