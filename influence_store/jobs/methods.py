"""From names on a command line to methods that can be asked: load the model, find or train the
checkpoints, and hand every method what its spec says it needs.
"""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from influence_store.errors import Incompatible, UsageError
from influence_store.influence import METHODS, Method
from influence_store.influence.checkpoints import Recipe
from influence_store.jobs import checkpoints
from influence_store.jobs.samples import read_samples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from influence_store.influence.encoder import Encoder
    from influence_store.influence.learner import Learner
    from influence_store.influence.llm import Llm
    from influence_store.protocols import Need
    from influence_store.schema.sample import Sample
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Settings that have options of their own, and what a job passes itself.
_NOT_SETTINGS = {"self", "llm", "learner", "encoder", "classes", "ledger", "seed", "blind"}
_OURS = {"targets", "fit", "null_checkpoints", "seen", "checkpoints", "embedder_fingerprint"}
_REHEARSED_BATCHES = 2
_MODEL_NEEDS = {"llm", "checkpoints", "null_checkpoints", "fit", "seen"}


@dataclass(frozen=True)
class MethodsReport:
    """Every method of the registry; what `label` can be asked for."""

    rows: tuple[dict[str, Any], ...]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {"methods": list(self.rows)}

    def lines(self) -> list[str]:
        """For people: one line per method."""
        return [
            f"{row['name']:<16} {row['kind']:<9}  higher = {row['higher_means']:<8}  "
            f"{row['summary']}; needs {' + '.join(row['needs']) or 'nothing'}"
            for row in self.rows
        ]


def list_methods() -> MethodsReport:
    """Read the registry; a third party's method is imported to see what it is."""
    rows = []
    for name, entry in sorted(METHODS.entries().items()):
        said = entry if isinstance(entry, Method) else entry.load().spec
        rows.append(
            {
                "name": name,
                "kind": said.kind,
                "higher_means": said.higher_means,
                "needs": list(said.needs),
                "extra": entry.extra,
                "summary": entry.summary,
            }
        )
    return MethodsReport(tuple(rows))


@dataclass(frozen=True)
class ModelChoice:
    """Which model to ask, and how; `settings` are NAME=VALUE for a method, learner or recipe.

    Without `trains` checkpoints must be in the store: Incompatible where they are not.
    """

    model: str | None = None
    cache: Path | None = None
    max_response_tokens: int | None = None
    max_len: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    warmup: float = 0.05
    seed: int = 0
    trains: bool = True


@dataclass(frozen=True)
class Rehearsal:
    """What a fine-tuning run would cost, from `measured` of its `rows`."""

    name: str
    rows: int
    measured: int
    llm_passes: int
    llm_tokens: int
    seconds: float
    bytes: int


class Workshop:
    """Builds methods over one dataset version; models and checkpoints are made once and shared."""

    def __init__(
        self, store: Store, version: Version, targets: Version | None, choice: ModelChoice
    ) -> None:
        self._store, self._version, self._targets, self._choice = store, version, targets, choice
        self._values = {name: parsed(text) for name, text in choice.settings.items()}
        #: What was made on the way to the methods, for people.
        self.notes: list[str] = []

    def methods(self, names: Sequence[str]) -> list[Any]:
        """The methods called `names`, ready to be asked.

        UsageError before anything is loaded for a method that lacks a model or targets, or for a
        setting that nobody takes.
        """
        return [self._build(one) for one in self._checked(names)]

    def rehearse(self, names: Sequence[str]) -> list[Rehearsal]:
        """Measure the fine-tuning that `names` still need on its first batches; keep nothing.

        Methods built afterwards work with the weights of the rehearsal.
        """
        needs = {need for one in self._checked(names) for need in one.spec.needs}
        told = []
        for need, blind in (("checkpoints", False), ("null_checkpoints", True)):
            recipe = self._recipe(blind=blind)
            if need in needs and checkpoints.find(self._store, self._key_of(recipe)) is None:
                trained, rehearsal = _rehearsed(self.learner, self._training, recipe)
                vars(self)["null_trained" if blind else "trained"] = trained
                told.append(rehearsal)
        return told

    @property
    def device(self) -> str:
        """Where the model runs; "cpu" without one."""
        loaded = vars(self).get("learner") or vars(self).get("llm")
        return str(getattr(loaded, "device", "cpu"))

    def _checked(self, names: Sequence[str]) -> list[Any]:
        """The classes behind `names`, once it is clear that they can be asked."""
        classes = [METHODS.get(name) for name in names]
        self._check_needs(names, classes)
        self._check_settings(names, classes)
        return classes

    def _check_needs(self, names: Sequence[str], classes: Sequence[Any]) -> None:
        for name, one in zip(names, classes, strict=True):
            needs = set(one.spec.needs)
            if "embedding" in needs:
                raise UsageError(
                    f"{name} needs no labels: its values are products of stored embeddings",
                    hint=f"ask at once: influence-store top {self._version.dataset} SAMPLE_ID",
                )
            if needs & _MODEL_NEEDS and self._choice.model is None:
                raise UsageError(f"{name} asks a model", hint="say which: --model PATH")
            if "targets" in needs and self._targets is None:
                raise UsageError(
                    f"{name} measures the help for some targets", hint="say whom: --targets D"
                )
        serving = [
            one for one in classes if one.spec.kind != "pointwise" or "targets" in one.spec.needs
        ]
        if self._targets is not None and not serving:
            raise UsageError(
                f"--targets means nothing to {', '.join(names)}: it asks about each row by itself",
                hint="leave it out",
            )

    def _check_settings(self, names: Sequence[str], classes: Sequence[Any]) -> None:
        needs = {need for one in classes for need in one.spec.needs}
        takers = [_taken(one) for one in classes]
        if needs & (_MODEL_NEEDS - {"llm"}):
            takers += [_taken(self._learner_class), {f.name for f in fields(Recipe)}]
        known = set().union(*takers) - _NOT_SETTINGS - _OURS
        if unknown := sorted(set(self._values) - known):
            raise UsageError(
                f"{', '.join(names)} has no setting {unknown[0]!r}",
                hint=f"settings are: {', '.join(sorted(known)) or 'none'}",
            )

    def _build(self, one: Any) -> Any:
        needs: tuple[Need, ...] = one.spec.needs
        reader = self._learner_class if "checkpoints" in needs else one
        if self._choice.max_response_tokens and "max_response_tokens" not in _taken(reader):
            self.notes.append(f"{one.spec.name} reads whole texts, whatever --max-response-tokens")
        given: list[Any] = []
        if "checkpoints" in needs:
            given = [self.learner, self.trained.checkpoints]
        elif "llm" in needs:
            given = [self.llm]
        named: dict[str, Any] = {}
        if "targets" in needs:
            named["targets"] = self._samples(self._targets)
        if "fit" in needs:
            named["fit"] = self._fit_samples()
        if "null_checkpoints" in needs:
            named["null_checkpoints"] = self.null_trained.checkpoints
        if "seen" in needs:
            named["seen"] = self.trained.sample_ids
        return self._call(one, *given, **named)

    @cached_property
    def llm(self) -> Llm:
        """The causal LM."""
        from influence_store.influence.llm import load_llm

        choice = self._choice
        assert choice.model is not None
        return load_llm(choice.model, cache=choice.cache, max_len=choice.max_len)

    @cached_property
    def learner(self) -> Learner:
        """The causal LM with its adapter, or the encoder with its head."""
        if not self._is_encoder:
            built: Learner = self._call(self._learner_class, self.llm)
            return built
        from influence_store.influence.classifier import classes_of

        # A later version may bring new class names; the classifier stays the one it is.
        known = checkpoints.find(self._store, self._key_of(self._recipe(blind=False)))
        classes = known.facts["learner"]["classes"] if known else classes_of(self._training)
        classifier: Learner = self._call(self._learner_class, self.encoder, classes)
        return classifier

    @cached_property
    def encoder(self) -> Encoder:
        """The bidirectional encoder below a classifier."""
        from influence_store.influence.encoder import load_encoder

        assert self._choice.model is not None
        return load_encoder(self._choice.model, max_len=self._choice.max_len)

    @cached_property
    def trained(self) -> checkpoints.Trained:
        """Checkpoints of the learner on a share of the rows."""
        return self._checkpoints(blind=False)

    @cached_property
    def null_trained(self) -> checkpoints.Trained:
        """The same without prompts."""
        return self._checkpoints(blind=True)

    def _checkpoints(self, *, blind: bool) -> checkpoints.Trained:
        recipe = self._recipe(blind=blind)
        key = self._key_of(recipe)
        what = "without prompts " if blind else ""
        if known := checkpoints.find(self._store, key):
            n_rows = known.facts["n_rows"]
            self.notes.append(f"checkpoints {what}of an earlier fine-tuning on {n_rows} rows")
            return checkpoints.load(self._store, known)
        if not self._choice.trains:
            raise Incompatible(
                f"the store has no checkpoints {what}of this model and these settings",
                hint="put the same model and the same packages on every machine",
            )
        trained = checkpoints.train(self._store, self.learner, self._training, recipe, key)
        self.notes.append(
            f"fine-tuned {what}on {len(trained.sample_ids)} rows, {len(trained.checkpoints)} "
            "checkpoints kept for later rows and methods"
        )
        return trained

    @cached_property
    def _training(self) -> list[Sample]:
        return checkpoints.training_samples(
            self._store, self._version, self._choice.warmup, self._choice.seed
        )

    def _fit_samples(self) -> list[Sample]:
        from influence_store.schema.identity import sample_id

        _, samples = read_samples(self._store, self._version.bits)
        return [one for one in samples if sample_id(one) in self.trained.sample_ids]

    def _samples(self, version: Version | None) -> list[Sample]:
        assert version is not None
        return read_samples(self._store, version.bits)[1]

    def _recipe(self, *, blind: bool) -> Recipe:
        taken = {f.name for f in fields(Recipe)}
        values = {name: value for name, value in self._values.items() if name in taken}
        return Recipe(**values, blind=blind, seed=self._choice.seed)

    def _key_of(self, recipe: Recipe) -> dict[str, Any]:
        """What must agree for checkpoints to be used again; the rows of a version need not."""
        taken = _taken(self._learner_class)
        return {
            "model": dict(self.encoder.facts if self._is_encoder else self.llm.facts),
            "learner": self._learner_class.__name__,
            "settings": {name: v for name, v in self._values.items() if name in taken},
            "max_response_tokens": self._choice.max_response_tokens,
            "dataset": self._version.dataset,
            "warmup": self._choice.warmup,
            "recipe": recipe.facts(),
        }

    @cached_property
    def _is_encoder(self) -> bool:
        from influence_store.influence.encoder import is_encoder

        assert self._choice.model is not None
        return is_encoder(self._choice.model)

    @property
    def _learner_class(self) -> Any:
        if self._is_encoder:
            from influence_store.influence.classifier import EncoderClassifier

            return EncoderClassifier
        from influence_store.influence.lora import LoraLm

        return LoraLm

    def _call(self, maker: Any, *given: Any, **named: Any) -> Any:
        """Call with the settings, seed and cut that `maker` takes; UsageError for a bad value."""
        offered = {
            **self._values,
            "seed": self._choice.seed,
            "max_response_tokens": self._choice.max_response_tokens,
        }
        taken = _taken(maker)
        chosen = {name: value for name, value in offered.items() if name in taken}
        try:
            return maker(*given, **named, **chosen)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{maker.__name__}: {error}") from error


def _rehearsed(
    learner: Learner, samples: Sequence[Sample], recipe: Recipe
) -> tuple[checkpoints.Trained, Rehearsal]:
    used, readings = checkpoints.usable(learner, samples)
    few = readings[: _REHEARSED_BATCHES * recipe.batch_size]
    before, began = learner.ledger.facts(), time.monotonic()
    trained = learner.train(few, replace(recipe, epochs=1, n_checkpoints=1))
    share = recipe.epochs * len(readings) / len(few)
    spent = {name: count - before[name] for name, count in learner.ledger.facts().items()}
    return (
        checkpoints.Trained(tuple(trained) * recipe.n_checkpoints, frozenset()),
        Rehearsal(
            name="fine-tuning without prompts" if recipe.blind else "fine-tuning",
            rows=len(used),
            measured=len(few),
            llm_passes=round(share * spent["llm_passes"]),
            llm_tokens=round(share * spent["llm_tokens"]),
            seconds=share * (time.monotonic() - began),
            bytes=12 * learner.n_parameters * recipe.n_checkpoints,
        ),
    )


def _taken(maker: Any) -> set[str]:
    return set(inspect.signature(maker).parameters)


def parsed(text: str) -> Any:
    """A number, truth value or list where the text is one in JSON, else the text itself."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
