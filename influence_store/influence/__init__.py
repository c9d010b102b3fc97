"""Teachers: which influence methods exist, by name. Importing this loads no method."""

from __future__ import annotations

from dataclasses import dataclass

from influence_store.protocols import HigherMeans, Kind, Need
from influence_store.registry import Entry, Registry


@dataclass(frozen=True)
class Method(Entry):
    """An entry that also says what the class's spec says, so that a list imports nothing."""

    kind: Kind = "pointwise"
    higher_means: HigherMeans = "neither"
    needs: tuple[Need, ...] = ("llm",)


def _ours(
    where: str,
    summary: str,
    kind: Kind,
    higher_means: HigherMeans,
    *needs: Need,
) -> Method:
    extra = "" if needs == ("embedding",) else "train"
    return Method(f"influence_store.influence.{where}", summary, extra, kind, higher_means, needs)


#: From what costs nothing to what costs most.
_METHODS = {
    "delift-se": _ours(
        "delift_se:DeliftSe",
        "cosine of two stored embeddings; no LLM",
        "bilinear",
        "helpful",
        "embedding",
    ),
    "perplexity": _ours(
        "perplexity:Perplexity",
        "how surprised an LLM is by the response",
        "pointwise",
        "neither",
        "llm",
    ),
    "ifd": _ours(
        "ifd:Ifd",
        "perplexity of the response with its prompt over that without",
        "pointwise",
        "harder",
        "llm",
    ),
    "pvi-zero-shot": _ours(
        "pvi:PviZeroShot",
        "bits that the prompt tells an LLM about the response",
        "pointwise",
        "easier",
        "llm",
    ),
    "el2n-token": _ours(
        "el2n:El2nToken",
        "distance of an LLM's prediction to each response token",
        "pointwise",
        "harder",
        "llm",
    ),
    "rds": _ours(
        "rds:Rds",
        "cosine of an LLM's mean hidden states",
        "bilinear",
        "helpful",
        "llm",
    ),
    "selectit": _ours(
        "selectit:SelectIt",
        "an LLM's own rating of the sample, and how sure it is",
        "pointwise",
        "helpful",
        "llm",
    ),
    "delift": _ours(
        "delift:Delift",
        "how much showing the source in context helps an LLM produce the target's response",
        "pairwise",
        "helpful",
        "llm",
    ),
    "el2n": _ours(
        "el2n:El2n",
        "distance of a fine-tuned model's prediction to the truth",
        "pointwise",
        "harder",
        "checkpoints",
    ),
    "pvi": _ours(
        "pvi:Pvi",
        "bits that the prompt tells a fine-tuned model about the response",
        "pointwise",
        "easier",
        "checkpoints",
        "null_checkpoints",
        "seen",
    ),
    "forgetting": _ours(
        "forgetting:Forgetting",
        "how often fine-tuning unlearns the sample",
        "pointwise",
        "harder",
        "checkpoints",
    ),
    "grand": _ours(
        "grand:GraNd",
        "length of the loss gradient",
        "pointwise",
        "harder",
        "checkpoints",
    ),
    "vog": _ours(
        "vog:Vog",
        "how much the input gradient changes during fine-tuning",
        "pointwise",
        "harder",
        "checkpoints",
    ),
    "tracin-self": _ours(
        "tracin:TracInSelf",
        "how much training on the sample changes its own loss",
        "pointwise",
        "harder",
        "checkpoints",
    ),
    "tracin": _ours(
        "tracin:TracIn",
        "how much a training step on the source lowers the target's loss",
        "bilinear",
        "helpful",
        "checkpoints",
    ),
    "gradient-cosine": _ours(
        "tracin:GradientCosine",
        "whether source and target pull the weights the same way",
        "bilinear",
        "helpful",
        "checkpoints",
    ),
    "less": _ours(
        "less:Less",
        "whether an Adam step on the source goes the way the target needs",
        "bilinear",
        "helpful",
        "checkpoints",
    ),
    "trak": _ours(
        "trak:Trak",
        "TracIn with the curvature of the training rows taken out",
        "bilinear",
        "helpful",
        "checkpoints",
        "fit",
    ),
    "ekfac": _ours(
        "ekfac:EkFac",
        "product of gradients through the curvature of the training rows, layer by layer",
        "bilinear",
        "helpful",
        "checkpoints",
        "fit",
    ),
    "dealrec": _ours(
        "dealrec:DealRec",
        "what removing the sample would do to the targets' risk, and the effort to learn it",
        "pointwise",
        "helpful",
        "checkpoints",
        "targets",
        "fit",
    ),
}

METHODS = Registry("influence method", "influence_store.influence", dict(_METHODS))
