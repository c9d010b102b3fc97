"""Scores computed elsewhere: identity, rows, orientation; one fixture per documented layout."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from score_files import IDENTITY_FIELDS, SOURCES, TARGETS, S, ids, pairs, points

from influence_store.errors import Incompatible, InputError, NotFound
from influence_store.influence.imports import FORMATS, read_scores
from influence_store.influence.imports.identity import IDENTITY
from influence_store.schema.identity import fingerprint


def written(path, fields):
    path.write_text(json.dumps(fields))
    return path


@pytest.fixture
def matrix(tmp_path):
    """dattri's form: train × test."""
    path = tmp_path / "scores.npy"
    np.save(path, S.T)
    return path


# -- identity --------------------------------------------------------------------------------


@pytest.mark.parametrize("field", IDENTITY)
def test_a_missing_identity_field_is_refused_by_name(matrix, field):
    fields = {key: value for key, value in pairs().items() if key != field}
    with pytest.raises(InputError, match=f"lacks 1 mandatory fields: {field}"):
        read_scores(matrix, "dattri", fields)


def test_all_missing_fields_are_listed_at_once_with_an_example_to_copy(matrix):
    with pytest.raises(InputError) as told:
        read_scores(matrix, "dattri", {"method": "mine", "kind": "pairwise", "seed": 3})
    lines = str(told.value).splitlines()
    wanted = [field for field in IDENTITY if field not in ("method", "kind", "seed")]
    assert ", ".join([*wanted, "source_ids", "target_ids"]) in lines[0]
    example = json.loads(lines[1].partition("such as: ")[2])
    assert example["method"] == "mine"
    assert set(example) == {*IDENTITY, "source_ids", "target_ids"}


def test_the_example_is_itself_a_right_manifest(matrix):
    with pytest.raises(InputError) as told:
        read_scores(matrix, "dattri")
    example = json.loads(str(told.value).partition("such as: ")[2])
    example |= {"source_ids": SOURCES, "target_ids": TARGETS}
    assert read_scores(matrix, "dattri", example).spec.name == example["method"]


def test_null_says_that_there_is_none_but_not_for_the_method_itself(matrix):
    assert read_scores(matrix, "dattri", pairs(model_id=None)).facts["model_id"] is None
    with pytest.raises(InputError, match='"code_version" is null'):
        read_scores(matrix, "dattri", pairs(code_version=None))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "My Method"),
        ("kind", "matrix"),
        ("higher_means", "better"),
        ("max_len", "512"),
        ("seed", True),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(matrix, field, value):
    with pytest.raises(InputError, match=f'"{field}" is .*, expected'):
        read_scores(matrix, "dattri", pairs(**{field: value}))


def test_an_unknown_field_is_no_fact(matrix):
    with pytest.raises(InputError, match='"projection_dim" is unknown'):
        read_scores(matrix, "dattri", pairs(projection_dim=8192))
    told = read_scores(matrix, "dattri", pairs(parameters={"projection_dim": 8192}))
    assert told.facts["parameters"] == {"projection_dim": 8192}


@pytest.mark.parametrize("name", ["scores.npy.manifest.json", "manifest.json"])
def test_a_manifest_beside_the_scores_is_found(matrix, name):
    written(matrix.parent / name, pairs())
    assert read_scores(matrix, "dattri").facts["max_len"] == 512


def test_a_manifest_that_is_no_json_object_is_refused(matrix):
    for text in ("{", "[]"):
        path = matrix.parent / "manifest.json"
        path.write_text(text)
        with pytest.raises(InputError, match=r"manifest\.json (is not JSON|holds no JSON object)"):
            read_scores(matrix, "dattri", path)


def test_facts_are_identity_and_content(matrix):
    told = read_scores(matrix, "dattri", pairs())
    assert {*IDENTITY} <= set(told.facts)
    assert fingerprint(told.facts) == fingerprint(read_scores(matrix, "dattri", pairs()).facts)
    for other in (pairs(seed=1), pairs(source_ids=SOURCES[::-1])):
        assert fingerprint(read_scores(matrix, "dattri", other).facts) != fingerprint(told.facts)
    np.save(matrix, S.T + 1)
    assert fingerprint(read_scores(matrix, "dattri", pairs()).facts) != fingerprint(told.facts)


def test_facts_do_not_depend_on_where_the_file_lies(matrix, tmp_path):
    moved = tmp_path / "elsewhere.npy"
    moved.write_bytes(matrix.read_bytes())
    here, there = (read_scores(path, "dattri", pairs()) for path in (matrix, moved))
    assert here.facts == there.facts


def test_what_is_harmful_is_negated_and_its_facts_say_so(matrix):
    told = read_scores(matrix, "dattri", pairs(higher_means="harmful"))
    np.testing.assert_array_equal(told.table.matrix("foreign"), -S)
    assert (told.spec.higher_means, told.facts["higher_means"]) == ("helpful", "harmful")


# -- rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["txt", "json", "parquet"])
def test_ids_may_be_listed_in_a_file(matrix, form):
    path = matrix.parent / f"sources.{form}"
    if form == "txt":
        path.write_text("\n".join(SOURCES) + "\n")
    elif form == "json":
        path.write_text(json.dumps(SOURCES))
    else:
        pl.DataFrame({"sample_id": [bytes.fromhex(one) for one in SOURCES]}).write_parquet(path)
    written(matrix.parent / "manifest.json", pairs(source_ids=path.name))
    told = read_scores(matrix, "dattri")
    assert told.table.source_ids == tuple(map(bytes.fromhex, SOURCES))


@pytest.mark.parametrize("name", ["train.jsonl", "train.json", "train.parquet"])
def test_rows_of_a_data_file_are_turned_into_ids_by_the_caller(matrix, name):
    path = matrix.parent / name
    if name.endswith("parquet"):
        pl.DataFrame({"prompt": ["a"]}).write_parquet(path)
    else:
        path.write_text('[{"prompt": "a"}]')
    asked = []

    def rows_of(file):
        asked.append(file)
        return [bytes.fromhex(one) for one in SOURCES]

    told = read_scores(matrix, "dattri", pairs(source_ids=name), rows_of=rows_of)
    assert asked == [path]
    assert len(told.table.source_ids) == 5
    with pytest.raises(InputError, match=f"{name} lists no sample ids"):
        read_scores(matrix, "dattri", pairs(source_ids=name))


def test_axes_of_another_length_are_refused_naming_both(matrix):
    with pytest.raises(InputError, match=r"5 sources × 3 targets; \"source_ids\".* names 4 rows"):
        read_scores(matrix, "dattri", pairs(source_ids=SOURCES[:4]))


def test_swapped_axes_are_refused(matrix):
    with pytest.raises(InputError, match=r"5 sources × 3 targets; .* names 5 rows, expected 3"):
        read_scores(matrix, "dattri", pairs(source_ids=TARGETS, target_ids=SOURCES))


@pytest.mark.parametrize("bad", ["zz" * 16, "ab", 7, None, {"id": 1}])
def test_an_entry_that_is_no_id_is_named(matrix, bad):
    with pytest.raises(InputError, match=r"entry 2 is .*expected a sample id of 32 hex digits"):
        read_scores(matrix, "dattri", pairs(source_ids=[*SOURCES[:2], bad, *SOURCES[3:]]))


def test_a_file_of_ids_that_is_not_there_is_not_found(matrix):
    with pytest.raises(NotFound, match=r"there is no file .*absent\.txt"):
        read_scores(matrix, "dattri", pairs(source_ids="absent.txt"))


def test_a_repeated_sample_is_kept_once_and_counted(tmp_path):
    path = tmp_path / "self.npy"
    np.save(path, np.array([1.0, 2.0, 1.0, 9.0, np.nan]))
    one, two, three = ids(3)
    told = read_scores(path, "dattri", points(sample_ids=[one, two, one, two, three]))
    np.testing.assert_array_equal(told.table.values["foreign"], [1.0, 2.0, np.nan])
    assert told.dropped == {"sample repeated": 1, "sample repeated with another value": 1}


def test_a_repeated_source_or_target_is_kept_once_and_counted(matrix):
    doubled = pairs(source_ids=[*SOURCES[:4], SOURCES[0]], target_ids=[TARGETS[0]] * 3)
    told = read_scores(matrix, "dattri", doubled)
    np.testing.assert_array_equal(told.table.matrix("foreign"), S[:1, :4])
    assert told.dropped == {"source repeated": 1, "target repeated": 2}


def test_nan_stays_null_and_infinity_is_no_value(matrix):
    broken = S.copy()
    broken[0, 0], broken[2, 4] = np.nan, np.inf
    np.save(matrix, broken.T)
    told = read_scores(matrix, "dattri", pairs())
    broken[2, 4] = np.nan
    np.testing.assert_array_equal(told.table.matrix("foreign"), broken)
    assert told.dropped == {"infinite value": 1}


def test_a_column_holds_the_pairs_of_one_source(matrix):
    table = read_scores(matrix, "dattri", pairs()).table
    for j in range(5):
        rows, values = table.column(j)
        assert rows.tolist() == [0, 1, 2]
        np.testing.assert_array_equal(values["foreign"], S[:, j])


def test_an_unknown_format_names_the_nearest(matrix):
    with pytest.raises(NotFound, match="did you mean bergson"):
        read_scores(matrix, "bergsen", pairs())


def test_scores_that_are_not_there_are_not_found(tmp_path):
    with pytest.raises(NotFound, match="no file or folder"):
        read_scores(tmp_path / "no.pt", "less", pairs())


def test_every_format_loads():
    assert all(callable(FORMATS.get(name)) for name in FORMATS.builtin)


# -- data-juicer -----------------------------------------------------------------------------


def stats(tmp_path, rows, name="out_stats.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_data_juicer_statistics_become_outputs(tmp_path):
    rows = [
        {"__dj__stats__": {"perplexity": 10.5, "text_len": 7, "lang": "en"}, "__dj__meta__": {}},
        {"__dj__stats__": {"perplexity": None, "text_len": 9, "lang": "de"}},
        {"__dj__stats__": {"perplexity": float("nan"), "text_len": 11, "sizes": [1, 2]}},
    ]
    told = read_scores(stats(tmp_path, rows), "data-juicer", points(3, higher_means="neither"))
    assert told.spec.outputs == ("foreign-perplexity", "foreign-text_len")
    np.testing.assert_array_equal(told.table.values["foreign-perplexity"], [10.5, np.nan, np.nan])
    assert told.dropped == {
        "lang is not one number per row": 3,
        "sizes is not one number per row": 3,
    }


def test_data_juicer_statistics_may_stand_in_the_records_as_text(tmp_path):
    row = {"text": "a", "__dj__stats__": json.dumps({"text_len": 1})}
    told = read_scores(stats(tmp_path, [row]), "data-juicer", points(1))
    assert told.table.values["foreign-text_len"].tolist() == [1.0]


def test_outputs_of_the_manifest_pick_and_order_statistics(tmp_path):
    path = stats(tmp_path, [{"__dj__stats__": {"a": 1, "b": 2, "c": 3}}])
    told = read_scores(path, "data-juicer", points(1, outputs=["c", "a"]))
    assert told.spec.outputs == ("foreign-c", "foreign-a")
    with pytest.raises(InputError, match=r"no statistic d\n.*known: a, b, c"):
        read_scores(path, "data-juicer", points(1, outputs=["d"]))


def test_a_line_without_statistics_is_named(tmp_path):
    path = stats(tmp_path, [{"__dj__stats__": {"a": 1}}, {"text": "b"}])
    with pytest.raises(InputError, match=r"out_stats\.jsonl:2: no __dj__stats__"):
        read_scores(path, "data-juicer", points(2))


# -- Parquet ---------------------------------------------------------------------------------


def test_parquet_points_need_no_axes(tmp_path):
    path = tmp_path / "values.parquet"
    frame = pl.DataFrame({"sample_id": ids(3), "value": [1, None, 3], "note": ["a", "b", "c"]})
    frame.write_parquet(path)
    told = read_scores(path, "parquet", {**IDENTITY_FIELDS, "kind": "pointwise"})
    np.testing.assert_array_equal(told.table.values["foreign"], [1.0, np.nan, 3.0])
    assert told.dropped == {"column note is no number": 3}


def test_parquet_pairs_may_be_any_part_in_any_order(tmp_path):
    path = tmp_path / "pairs.parquet"
    chosen = [(0, 1), (2, 4), (1, 1), (2, 0), (0, 1)]
    pl.DataFrame(
        {
            "target_id": [bytes.fromhex(TARGETS[i]) for i, _ in chosen],
            "source_id": [bytes.fromhex(SOURCES[j]) for _, j in chosen],
            "value": [S[i, j] for i, j in chosen[:4]] + [99.0],
            "foreign-kl": [0.0, 1.0, 2.0, 3.0, 4.0],
        }
    ).write_parquet(path)
    told = read_scores(path, "parquet", IDENTITY_FIELDS)
    table = told.table
    assert told.spec.outputs == ("foreign", "foreign-kl")
    assert told.dropped == {"pair repeated": 1}
    known = {
        (table.target_ids[i].hex(), table.source_ids[j].hex()): value
        for j in range(len(table.source_ids))
        for i, value in zip(*[table.column(j)[0], table.column(j)[1]["foreign"]], strict=True)
    }
    assert known == {(TARGETS[i], SOURCES[j]): S[i, j] for i, j in chosen[:4]}


@pytest.mark.parametrize("sides", [True, False])
def test_parquet_vectors_have_a_side_or_both(tmp_path, sides):
    rows = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    frame = pl.DataFrame({"sample_id": ids(4), "vector": rows})
    if sides:
        frame = frame.with_columns(side=pl.Series(["target", "source", "source", "target"]))
    path = tmp_path / "vectors.parquet"
    frame.write_parquet(path)
    table = read_scores(path, "parquet", {**IDENTITY_FIELDS, "kind": "bilinear"}).table
    t, s = (rows[[0, 3]], rows[[1, 2]]) if sides else (rows, rows)
    np.testing.assert_array_equal(table.target_vectors @ table.source_vectors.T, t @ s.T)
    assert table.symmetric is not sides


def test_a_null_vector_is_a_row_of_nan(tmp_path):
    path = tmp_path / "vectors.parquet"
    frame = pl.DataFrame({"sample_id": ids(2), "vector": [[1.0, 2.0], None]})
    frame.write_parquet(path)
    table = read_scores(path, "parquet", {**IDENTITY_FIELDS, "kind": "bilinear"}).table
    assert np.isnan(table.source_vectors).tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize(
    ("frame", "kind", "told"),
    [
        ({"value": [1.0]}, "pointwise", "no column sample_id; found value"),
        ({"sample_id": ids(1), "value": [1.0]}, "pairwise", "no column target_id, source_id"),
        ({"sample_id": ids(1), "note": ["a"]}, "pointwise", "no column of numbers"),
        ({"sample_id": ids(2), "vector": [[1.0], [1.0, 2.0]]}, "bilinear", r"have \[1, 2\] dim"),
        ({"sample_id": ids(1), "vector": [1.0]}, "bilinear", "expected a list of numbers"),
        (
            {"sample_id": ids(1), "vector": [[1.0]], "side": ["left"]},
            "bilinear",
            "side is 'left', expected target or source",
        ),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path, frame, kind, told):
    path = tmp_path / "values.parquet"
    pl.DataFrame(frame).write_parquet(path)
    with pytest.raises(InputError, match=told):
        read_scores(path, "parquet", {**IDENTITY_FIELDS, "kind": kind})


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    path = tmp_path / "values.parquet"
    path.write_text("sample_id,value\n")
    with pytest.raises(InputError, match=r"cannot read .*values\.parquet as Parquet"):
        read_scores(path, "parquet", IDENTITY_FIELDS)


def test_a_matrix_is_not_what_a_pointwise_manifest_says(matrix):
    with pytest.raises(InputError, match=r"shape \(5, 3\), expected \(samples,\) for pointwise"):
        read_scores(matrix, "dattri", points())


def test_a_kind_that_a_format_does_not_have_is_refused(matrix):
    with pytest.raises(Incompatible, match="manifest says bilinear"):
        read_scores(matrix, "dattri", pairs(kind="bilinear"))
