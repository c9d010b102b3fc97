"""Score files of attribution libraries, laid out as those libraries write them.

The layouts were compared with files that bergson 2.5.1, dattri 0.3.0 and Kronfluence 1.0.1 wrote
themselves; LESS's with its scripts `matching.py` and `collect_grad_reps.py`.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from score_files import IDENTITY_FIELDS, SOURCES, TARGETS, S, ids, pairs, points

from influence_store.errors import Forbidden, Incompatible, InputError, NotFound
from influence_store.influence.imports import read_scores

torch = pytest.importorskip("torch", reason="the train extra is not installed")


class Bomb:
    """Would write a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


# -- LESS ------------------------------------------------------------------------------------


def test_less_matrix_is_train_by_val_and_is_transposed(tmp_path):
    torch.save(torch.from_numpy(S.T.copy()).half(), tmp_path / "all.pt")
    told = read_scores(tmp_path / "all.pt", "less", pairs())
    np.testing.assert_array_equal(told.table.matrix("foreign"), S)
    assert (told.table.target_ids[0].hex(), told.table.source_ids[4].hex()) == (
        TARGETS[0],
        SOURCES[4],
    )


def test_less_influence_scores_are_points_of_one_target_set(tmp_path):
    path = tmp_path / "cot_influence_score.pt"
    torch.save(torch.tensor([0.25, -0.5, 0.75]), path)
    with pytest.raises(InputError, match="lacks 1 mandatory fields: targets"):
        read_scores(path, "less", points(3))
    told = read_scores(path, "less", points(3, targets="mmlu dev: 57 subtasks of 5"))
    assert told.table.values["foreign"].tolist() == [0.25, -0.5, 0.75]
    assert told.facts["targets"] == "mmlu dev: 57 subtasks of 5"


@pytest.fixture
def stores(tmp_path):
    """Two checkpoints of unit gradients per side, as `all_orig.pt` holds them."""
    rng = np.random.default_rng(0)
    made = {}
    for side, n in (("train", 5), ("val", 3)):
        for ckpt in (105, 211):
            rows = rng.normal(size=(n, 8))
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            folder = tmp_path / f"{side}-{ckpt}" / "dim8"
            folder.mkdir(parents=True)
            torch.save(torch.from_numpy(rows).half(), folder / "all_orig.pt")
            made[side, ckpt] = rows
    manifest = pairs(
        kind="bilinear",
        source_vectors=[f"train-{c}/dim8/all_orig.pt" for c in (105, 211)],
        target_vectors=[f"val-{c}/dim8/all_orig.pt" for c in (105, 211)],
        checkpoint_weights=[3e-5, 1e-5],
    )
    return tmp_path, manifest, made


def test_less_gradient_stores_become_vectors_whose_products_are_its_scores(stores):
    folder, manifest, made = stores
    told = read_scores(folder, "less", manifest)
    products = told.table.target_vectors @ told.table.source_vectors.T
    # What matching.py adds up: weights of sum 1, train @ val.T per checkpoint; ours is transposed.
    expected = sum(w * made["train", c] @ made["val", c].T for c, w in ((105, 0.75), (211, 0.25))).T
    np.testing.assert_allclose(products, expected, atol=1e-3)
    assert products.shape == (3, 5)
    np.testing.assert_allclose(np.linalg.norm(told.table.source_vectors, axis=1), 1, atol=1e-6)


def test_less_checkpoint_order_and_weights_are_facts(stores):
    folder, manifest, _ = stores
    told = read_scores(folder, "less", manifest).facts
    turned = {**manifest, "checkpoint_weights": [1e-5, 3e-5]}
    assert read_scores(folder, "less", turned).facts != told
    turned = {**manifest, "source_vectors": manifest["source_vectors"][::-1]}
    assert read_scores(folder, "less", turned).facts != told


def test_less_gradients_that_are_not_normalised_are_refused(stores):
    folder, manifest, made = stores
    torch.save(torch.from_numpy(made["val", 211] * 3), folder / "val-211/dim8/all_orig.pt")
    with pytest.raises(InputError, match=r"row 0 of .* has length 3, expected 1"):
        read_scores(folder, "less", manifest)


def test_less_zero_gradient_has_no_direction(stores):
    folder, manifest, made = stores
    rows = made["train", 105].copy()
    rows[2] = 0
    torch.save(torch.from_numpy(rows), folder / "train-105/dim8/all_orig.pt")
    vectors = read_scores(folder, "less", manifest).table.source_vectors
    assert np.isnan(vectors).all(axis=1).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [], "1,2", [1.0, 2.0, 3.0]])
def test_less_needs_one_positive_weight_per_checkpoint(stores, weights):
    folder, manifest, _ = stores
    with pytest.raises(InputError, match="expected one positive number for each"):
        read_scores(folder, "less", {**manifest, "checkpoint_weights": weights})


def test_less_store_that_is_not_there_is_not_found(stores):
    folder, manifest, _ = stores
    with pytest.raises(NotFound, match=r"names gone\.pt"):
        read_scores(folder, "less", {**manifest, "source_vectors": ["gone.pt", "gone.pt"]})


def test_a_pt_file_is_never_executed(tmp_path):
    torch.save({"scores": Bomb(tmp_path / "executed")}, tmp_path / "scores.pt")
    for name in ("less", "dattri"):
        with pytest.raises(Forbidden, match="would run code while it is read"):
            read_scores(tmp_path / "scores.pt", name, pairs())
    assert not (tmp_path / "executed").exists()


def test_an_npy_file_is_never_unpickled(tmp_path):
    np.save(tmp_path / "s.npy", np.array([Bomb(tmp_path / "executed")], object), allow_pickle=True)
    with pytest.raises(Forbidden, match="would run code while it is read"):
        read_scores(tmp_path / "s.npy", "dattri", pairs())
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"not a tensor"])
def test_a_file_that_is_no_tensor_is_refused(tmp_path, content):
    (tmp_path / "scores.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read .* as tensors only"):
        read_scores(tmp_path / "scores.pt", "less", pairs())


def test_a_dict_of_tensors_is_refused(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "scores.pt")
    with pytest.raises(InputError, match="holds a dict, expected one tensor"):
        read_scores(tmp_path / "scores.pt", "less", pairs())


# -- dattri ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["pt", "npy"])
def test_dattri_matrix_is_train_by_test_and_is_transposed(tmp_path, form):
    path = tmp_path / f"score.{form}"
    if form == "pt":
        torch.save(torch.from_numpy(S.T.copy()), path)
    else:
        np.save(path, S.T)
    told = read_scores(path, "dattri", pairs())
    np.testing.assert_array_equal(told.table.matrix("foreign"), S)


def test_dattri_self_scores_are_points(tmp_path):
    torch.save(torch.tensor([1.0, 2.0]), tmp_path / "self.pt")
    told = read_scores(tmp_path / "self.pt", "dattri", points(2))
    assert told.table.values["foreign"].tolist() == [1.0, 2.0]


# -- Kronfluence -----------------------------------------------------------------------------


def safetensors(path, **tensors):
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.as_tensor(t) for name, t in tensors.items()}, path)


def test_kronfluence_matrix_is_query_by_train_as_ours(tmp_path):
    safetensors(tmp_path / "scores_a" / "pairwise_scores.safetensors", all_modules=S)
    for path in (tmp_path / "scores_a", tmp_path / "scores_a" / "pairwise_scores.safetensors"):
        told = read_scores(path, "kronfluence", pairs())
        np.testing.assert_array_equal(told.table.matrix("foreign"), S)


def test_kronfluence_scores_per_module_add_up(tmp_path):
    half = torch.from_numpy(S).to(torch.bfloat16)
    safetensors(tmp_path / "pairwise_scores.safetensors", a=S, b=half, c=half.half())
    told = read_scores(tmp_path, "kronfluence", pairs())
    np.testing.assert_allclose(told.table.matrix("foreign"), 3 * S, atol=1e-6)


def test_kronfluence_self_scores_are_points(tmp_path):
    safetensors(tmp_path / "self_scores.safetensors", all_modules=np.float64([1, 2, 3]))
    told = read_scores(tmp_path, "kronfluence", points(3))
    assert told.table.values["foreign"].tolist() == [1.0, 2.0, 3.0]


def test_kronfluence_scores_per_token_are_refused(tmp_path):
    safetensors(tmp_path / "pairwise_scores.safetensors", all_modules=np.zeros((3, 5, 7)))
    with pytest.raises(Incompatible, match=r"one score per token, shape \(3, 5, 7\)"):
        read_scores(tmp_path, "kronfluence", pairs())


def test_kronfluence_partitions_must_be_aggregated_first(tmp_path):
    name = "pairwise_scores_data_partition0_module_partition0.safetensors"
    safetensors(tmp_path / name, all_modules=S)
    with pytest.raises(NotFound, match="aggregate partitions first"):
        read_scores(tmp_path, "kronfluence", pairs())


def test_factors_are_no_scores(tmp_path):
    safetensors(tmp_path / "f.safetensors", a=np.zeros((2, 2)), b=np.zeros((3, 3)))
    with pytest.raises(InputError, match="tensors of different shapes"):
        read_scores(tmp_path / "f.safetensors", "kronfluence", pairs())
    (tmp_path / "f.safetensors").write_bytes(b"garbage")
    with pytest.raises(InputError, match="as safetensors"):
        read_scores(tmp_path / "f.safetensors", "kronfluence", pairs())


# -- bergson ---------------------------------------------------------------------------------


def bergson(folder, scores, dtype="float32", **info):
    """(rows, queries) as structs of score and written flag, each pair on a power of two."""
    kinds = {"float32": ("<f4", 8, 4), "float16": ("<f2", 4, 2), "bfloat16": ("<u2", 4, 2)}
    kind, step, at = kinds[dtype]
    n, m = scores.shape
    names = [name for q in range(m) for name in (f"score_{q}", f"written_{q}")]
    offsets = [offset for q in range(m) for offset in (q * step, q * step + at)]
    itemsize = -(-m * step // 8) * 8
    fields = {"names": names, "formats": [kind, "?"] * m, "offsets": offsets, "itemsize": itemsize}
    rows = np.zeros(n, np.dtype(fields))
    for q in range(m):
        column = scores[:, q].astype(np.float32)
        if dtype == "bfloat16":
            column = (column.view(np.uint32) >> 16).astype(np.uint16)
        rows[f"score_{q}"] = np.nan_to_num(column) if dtype != "bfloat16" else column
        rows[f"written_{q}"] = ~np.isnan(scores[:, q])
    folder.mkdir(exist_ok=True)
    rows.tofile(folder / "scores.bin")
    layout = {**fields, "formats": [dtype, "bool"] * m}
    told = {"attribute_tokens": False, "num_items": n, "num_rows": n, "num_scores": m}
    (folder / "info.json").write_text(json.dumps({**told, "dtype": layout, **info}))
    return folder


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_bergson_rows_are_training_rows_and_are_transposed(tmp_path, dtype):
    # Eighths of small size are exact in all three types.
    folder = bergson(tmp_path / "scores", S.T, dtype)
    told = read_scores(folder, "bergson", pairs())
    np.testing.assert_array_equal(told.table.matrix("foreign"), S)
    assert told.dropped == {}


def test_bergson_cell_that_was_never_written_is_null_not_zero(tmp_path):
    scores = S.copy()
    scores[1, 3] = np.nan
    told = read_scores(bergson(tmp_path / "scores", scores.T), "bergson", pairs())
    np.testing.assert_array_equal(told.table.matrix("foreign"), scores)
    assert told.dropped == {"never written": 1}


def test_bergson_candidates_say_which_training_rows_were_scored(tmp_path):
    folder = bergson(tmp_path / "scores", S.T)
    np.save(folder / "candidates.npy", np.array([9, 0, 4, 2, 7]))
    training = ids(10, 3)
    told = read_scores(folder, "bergson", pairs(source_ids=training))
    assert [one.hex() for one in told.table.source_ids] == [training[k] for k in (9, 0, 4, 2, 7)]
    with pytest.raises(InputError, match="names rows of a larger set than the 5 rows"):
        read_scores(folder, "bergson", pairs())


def test_bergson_single_query_may_be_points(tmp_path):
    folder = bergson(tmp_path / "scores", S.T[:, :1])
    told = read_scores(folder, "bergson", points(5))
    np.testing.assert_array_equal(told.table.values["foreign"], S[0])
    several = bergson(tmp_path / "several", S.T)
    with pytest.raises(Incompatible, match="holds 3 queries, expected 1"):
        read_scores(several, "bergson", points(5))


def test_bergson_direction_must_be_that_of_its_config(tmp_path):
    folder = bergson(tmp_path / "scores", S.T)
    config = folder / "config.yaml"
    config.write_text("steps:\n- score:\n    score_cfg:\n      higher_is_better: false\n")
    with pytest.raises(InputError, match="says higher_is_better: false"):
        read_scores(folder, "bergson", pairs())
    told = read_scores(folder, "bergson", pairs(higher_means="harmful"))
    np.testing.assert_array_equal(told.table.matrix("foreign"), -S)
    config.write_text("      higher_is_better: true\n")
    with pytest.raises(InputError, match='write "higher_means": "helpful"'):
        read_scores(folder, "bergson", pairs(higher_means="harmful"))


def test_bergson_scores_per_token_are_refused(tmp_path):
    folder = bergson(tmp_path / "scores", S.T, attribute_tokens=True)
    with pytest.raises(Incompatible, match="one score per token"):
        read_scores(folder, "bergson", pairs())


def test_bergson_file_of_another_size_is_refused(tmp_path):
    folder = bergson(tmp_path / "scores", S.T)
    content = (folder / "scores.bin").read_bytes()
    (folder / "scores.bin").write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"scores\.bin is 119 bytes, expected 120"):
        read_scores(folder, "bergson", pairs())
    (folder / "scores.bin").unlink()
    with pytest.raises(InputError, match=r"scores\.bin is absent"):
        read_scores(folder, "bergson", pairs())


@pytest.mark.parametrize("dtype", [None, "object", {"names": ["score_0"]}, {"names": 3}])
def test_bergson_layout_that_is_not_understood_is_refused(tmp_path, dtype):
    folder = bergson(tmp_path / "scores", S.T, "float32")
    info = json.loads((folder / "info.json").read_text())
    (folder / "info.json").write_text(json.dumps({**info, "dtype": dtype}))
    with pytest.raises(InputError, match="does not describe scores"):
        read_scores(folder, "bergson", pairs())


def test_bergson_number_type_that_is_no_float_is_refused(tmp_path):
    folder = bergson(tmp_path / "scores", S.T)
    info = (folder / "info.json").read_text().replace('"float32"', '"O"')
    (folder / "info.json").write_text(info)
    with pytest.raises(InputError, match="stores numbers as 'O', expected one of"):
        read_scores(folder, "bergson", pairs())


def gradients(folder, rows, dtype="float32"):
    """bergson's gradient store: rows × the modules of grad_sizes."""
    folder.mkdir()
    rows.astype(np.float32 if dtype == "float32" else np.float16).tofile(folder / "gradients.bin")
    info = {
        "attribute_tokens": False,
        "num_items": len(rows),
        "num_grads": len(rows),
        "grad_sizes": {"a": 3, "b": rows.shape[1] - 3},
        "base_dtype": dtype,
    }
    (folder / "info.json").write_text(json.dumps(info))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_bergson_gradient_stores_become_vectors(tmp_path, dtype):
    rng = np.random.default_rng(0)
    train, query = rng.integers(-8, 8, (5, 7)) / 8, rng.integers(-8, 8, (3, 7)) / 8
    gradients(tmp_path / "index", train, dtype)
    gradients(tmp_path / "query", query, dtype)
    manifest = pairs(kind="bilinear", source_vectors="index", target_vectors="query")
    table = read_scores(tmp_path, "bergson", manifest).table
    np.testing.assert_array_equal(table.target_vectors @ table.source_vectors.T, query @ train.T)


def test_bergson_gradients_of_different_width_are_refused(tmp_path):
    gradients(tmp_path / "index", np.zeros((5, 7)))
    gradients(tmp_path / "query", np.zeros((3, 8)))
    manifest = pairs(kind="bilinear", source_vectors="index", target_vectors="query")
    with pytest.raises(InputError, match="target gradients have 8 dimensions, source gradients 7"):
        read_scores(tmp_path, "bergson", manifest)


def test_bilinear_scores_need_their_vectors_named(tmp_path):
    fields = {**IDENTITY_FIELDS, "kind": "bilinear", "source_ids": SOURCES, "target_ids": TARGETS}
    for name, wanted in (
        ("less", "source_vectors, target_vectors, checkpoint_weights"),
        ("bergson", "source_vectors, target_vectors"),
    ):
        with pytest.raises(InputError, match=f"mandatory fields: {wanted}"):
            read_scores(tmp_path, name, fields)
