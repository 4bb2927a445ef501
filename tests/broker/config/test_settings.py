from __future__ import annotations

import ast
import inspect

import pytest

from broker.config import settings
from broker.config.load import setting_names, variable_of


def _fields_and_docstrings() -> dict[str, bool]:
    """Every field of settings.py and whether a docstring stands below it."""
    found: dict[str, bool] = {}
    for node in ast.parse(inspect.getsource(settings)).body:
        if not isinstance(node, ast.ClassDef) or node.name == "Bounds":
            continue
        for one, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
                said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                if not one.target.id.startswith("_"):
                    found[f"{node.name}.{one.target.id}"] = said
    return found


def test_every_setting_says_what_it_is_for() -> None:
    silent = [name for name, said in _fields_and_docstrings().items() if not said]
    assert silent == []


def test_names_are_group_and_key() -> None:
    names = setting_names()
    assert names[0] == "proxy.listen"
    assert {"vm.qemu", "viewer.command", "log.level"} <= set(names)


@pytest.mark.parametrize(
    ("name", "variable"),
    [("proxy.tls_port", "BROKER_PROXY_TLS_PORT"), ("vm.qemu", "BROKER_VM_QEMU")],
)
def test_each_has_its_variable(name: str, variable: str) -> None:
    assert variable_of(name) == variable


def test_no_two_settings_share_a_variable() -> None:
    variables = [variable_of(name) for name in setting_names()]
    assert len(variables) == len(set(variables))
