"""Which tokenizer counts, and where does it come from? Only tokenizer.json is read, never a model.

A folder that holds tokenizer.json, that file itself, a `.gguf` file (converted once, as `label`
does) or a hub id, of which that one file is fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlmodel import col, select

from influence_store.embedding.digest import file_digest
from influence_store.errors import Incompatible, NotFound, Unreachable, UsageError
from influence_store.extras import require
from influence_store.schema.catalog import Run
from influence_store.settings import cache_dir

if TYPE_CHECKING:
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

FILE = "tokenizer.json"
#: The parameter of a run that says which model it read.
_SAID_IN = {"tokens": "tokenizer", "label": "model"}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class NamedTokenizer:
    """`name` is a hub id or an absolute path, `digest` what decides: sha256 of the file."""

    name: str
    file: Path
    digest: str

    def open(self) -> Any:
        """A `tokenizers.Tokenizer` that neither cuts nor pads, and takes markers for plain text.

        Incompatible if the file is none.
        """
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self.file))
        except Exception as error:  # tokenizers raises nothing narrower
            raise Incompatible(
                f"{self.file} is no tokenizer of the tokenizers library: {str(error)[:200]}",
                hint="fetch it again, or name another --tokenizer",
            ) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        return tokenizer


def find_tokenizer(store: Store, version: Version, where: str | None) -> NamedTokenizer:
    """The tokenizer at `where`; by default the one that last counted, or taught, this dataset.

    UsageError if nobody did, NotFound or StorageError if there is none at `where`.
    """
    name = where or _last_used(store, version)
    if name is None:
        raise UsageError(
            f"tokens of {version.dataset} cannot be counted: no tokenizer is named, and no model "
            "was asked about this dataset before",
            hint="name the model to be trained: --tokenizer FOLDER, or a hub id",
        )
    file = _file(name)
    path = Path(name).expanduser()
    # The next command may be typed in another folder.
    return NamedTokenizer(str(path.resolve()) if path.exists() else name, file, file_digest(file))


def _last_used(store: Store, version: Version) -> str | None:
    """What the newest finished run on any version of the dataset read."""
    with store.database.read() as session:
        query = select(Run).where(col(Run.verb).in_(_SAID_IN), Run.state == "committed")
        for run in session.exec(query.order_by(col(Run.started_at).desc())).all():
            about = run.params.get("dataset") or run.params.get("sources") or ""
            said = run.params.get(_SAID_IN[run.verb])
            if said and about.partition("@")[0] == version.dataset:
                return str(said)
    return None


def _file(name: str) -> Path:
    path = Path(name).expanduser()
    if path.name == FILE and path.is_file():
        return path
    if (path / FILE).is_file():
        return path / FILE
    if path.suffix == ".gguf" or (path.is_dir() and any(path.glob("*.gguf"))):
        from influence_store.influence.model_folder import model_folder

        return model_folder(name, revision=None, dtype="float32", cache=cache_dir()) / FILE
    if path.exists():
        raise NotFound(
            f"{name} holds no {FILE}", hint="name a model folder that does, or a hub id owner/name"
        )
    if not _HUB_ID.fullmatch(name):
        raise NotFound(
            f"no tokenizer at {name}", hint=f"name a folder with {FILE}, or a hub id owner/name"
        )
    return _from_hub(name)


def _from_hub(name: str) -> Path:
    hub = require("huggingface_hub", extra="train")
    try:
        return Path(hub.hf_hub_download(name, FILE))
    except (hub.errors.RepositoryNotFoundError, hub.errors.EntryNotFoundError) as error:
        # Offline, a file that is not in the hub's cache is "not found" as well.
        if isinstance(error, hub.errors.LocalEntryNotFoundError):
            raise _unreachable(name, error) from error
        raise NotFound(
            f"no folder {name} here, and no {FILE} of such a model on the hub",
            hint="ls the path; a private model needs a login: hf auth login",
        ) from error
    except Exception as error:  # the hub client fails offline in many types of three libraries
        raise _unreachable(name, error) from error


def _unreachable(name: str, error: Exception) -> Unreachable:
    return Unreachable(
        f"{name!r} is not a folder here, and the Hugging Face hub cannot be reached "
        f"({type(error).__name__})",
        hint=f"copy the model's {FILE} here and say --tokenizer ./{FILE}",
    )
