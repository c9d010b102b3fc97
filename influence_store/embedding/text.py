"""Which text of a sample is embedded?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from influence_store.errors import UsageError

if TYPE_CHECKING:
    from influence_store.schema.sample import Sample

#: As in the released NN-CIFT code: the prompt, a marker, the reference answer.
DEFAULT_TEMPLATE = "{prompt}\n##Answer: {response}"

_FIELD = re.compile(r"\{(\w*)\}")
_FIELDS = ("prompt", "response")


def embedding_text(sample: Sample, template: str = DEFAULT_TEMPLATE) -> str:
    """Put the sample's prompt and response where `template` says `{prompt}` and `{response}`.

    UsageError if the template names another field, or none at all.
    """
    check_template(template)
    values = {"prompt": sample.prompt, "response": sample.response}
    # One pass over the template: braces inside a sample's own text are never looked at.
    return _FIELD.sub(lambda found: values[found.group(1)], template)


def check_template(template: str) -> str:
    """Return `template` if its fields are known and there is one; UsageError otherwise."""
    named = _FIELD.findall(template)
    if not named or any(name not in _FIELDS for name in named):
        found = ", ".join(f"{{{name}}}" for name in named) or "no field"
        raise UsageError(
            f"the embedding template has {found}; it takes {{prompt}} and {{response}}",
            hint=f"for example: {DEFAULT_TEMPLATE!r}",
        )
    return template
