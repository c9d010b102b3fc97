"""The trainers' own loaders: `datasets` and TRL whole, of LLaMA-Factory and axolotl the data part.

Both pin other versions of torch and transformers, and their packages import everything when they
are imported. So `make test` installs them with --no-deps, and their modules are loaded here
without what their packages' `__init__` would import.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType

import pytest

CHAT_TEMPLATE = (
    "{%- if tools %}<tools>{{ tools | tojson }}</tools>{%- endif %}"
    "{%- for message in messages %}"
    "<|{{ message.role }}|>{{ message.content }}"
    "{%- for call in message.tool_calls or [] %}"
    "<call>{{ call.function.name }}({{ call.function.arguments | tojson }})</call>"
    "{%- endfor %}<|end|>"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}<|assistant|>{%- endif %}"
)


def llama_factory(module):
    """A module of LLaMA-Factory, e.g. data.converter."""
    return _module("llamafactory", ("data", "extras"), module)


def axolotl(module):
    """A module of axolotl, e.g. utils.schemas.datasets."""
    return _module("axolotl", ("prompt_strategies",), module)


def tokenizer_of(folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _module(package, parts, module):
    pytest.importorskip("torch", reason="pip install 'influence-store[train]'")
    if PathFinder.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install --no-deps {package}")
    for name in (package, *(f"{package}.{part}" for part in parts)):
        if name not in sys.modules:
            _without_init(name)
    return import_module(f"{package}.{module}")


def _without_init(name):
    parent, _, _ = name.rpartition(".")
    spec = PathFinder.find_spec(name, sys.modules[parent].__path__ if parent else None)
    module = ModuleType(name)
    module.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = module
