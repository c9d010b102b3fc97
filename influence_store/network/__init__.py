"""Estimators of pairwise influence: trained on seed labels, judged on samples kept back.

Reading order: labels, features, baselines, kernel_ridge (and product_system), residual_on_cosine,
nn_cift, predict, figures, evaluate, train, onnx_estimator. The table is in order of
preference: ties go to the earlier one.
"""

from __future__ import annotations

from influence_store.registry import Entry, Registry

NETWORKS = Registry(
    kind="network",
    group="influence_store.networks",
    builtin={
        "mean": Entry("influence_store.network.baselines:fit_mean", "the mean of the labels"),
        "cosine": Entry(
            "influence_store.network.baselines:fit_cosine",
            "cosine of the embeddings, one affine map fitted to the labels",
        ),
        "additive-ridge": Entry(
            "influence_store.network.baselines:fit_additive_ridge",
            "a ridge score per target plus a ridge score per source",
        ),
        "ridge-and-cosine": Entry(
            "influence_store.network.ridge_and_cosine:fit",
            "kernel ridge and cosine in equal parts: rank of the one, coverage of the other",
        ),
        "residual-on-cosine": Entry(
            "influence_store.network.residual_on_cosine:fit",
            "cosine plus kernel ridge of what it leaves",
        ),
        "two-step-kernel-ridge": Entry(
            "influence_store.network.kernel_ridge:fit",
            "Gaussian kernels on targets and sources, closed form, low rank",
        ),
        "bilinear": Entry(
            "influence_store.network.bilinear:fit",
            "one linear map of products of features plus main effects, closed form",
        ),
        "two-tower": Entry(
            "influence_store.network.two_tower:fit",
            "two small nets whose vectors are multiplied",
            extra="train",
        ),
        "nn-cift": Entry(
            "influence_store.network.nn_cift:fit",
            "the InfluenceNetwork as published (arXiv 2502.09969): the reference",
            extra="train",
        ),
    },
)
