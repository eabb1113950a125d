"""The benchmarks' parts that a change of the package could break unseen, on made-up stars."""

import importlib
import json
import sys
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from decocc_vo import ClusterRegion
from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field

FOLDER = Path(__file__).parents[1] / "benchmarks"
REGION = ClusterRegion(SkyCoord(120.0, -35.0, unit="deg"), 20 * u.arcmin)


@pytest.fixture
def benchmark(monkeypatch):
    """Import a benchmark as its command does."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_each_tells_how_it_is_run(name, benchmark, capsys):
    with pytest.raises(SystemExit) as ended:
        benchmark(name).main(["--help"])
    assert ended.value.code == 0
    assert f"python benchmarks/{name}.py" in capsys.readouterr().out


def test_every_stage_can_be_taken_out(benchmark):
    """What is patched exists, and is as it was afterwards."""
    ablation = benchmark("ablation")
    for patches in ablation.MIXTURE.values():
        before = [getattr(one.getter(), one.attribute) for one in patches]
        with ablation.applied(patches):
            assert all(getattr(one.getter(), one.attribute) is one.new for one in patches)
        assert [getattr(one.getter(), one.attribute) for one in patches] == before


def test_without_the_profile_places_do_not_count(benchmark):
    ablation = benchmark("ablation")
    stars = inject_cluster(simulate_field(REGION, 600, seed=1), REGION, SimulatedCluster(80, -3.0, 2.0, 1.1, 4.0))
    with ablation.applied(ablation.MIXTURE["no profile on the sky"]):
        scores = ablation.pretrain.solve(ablation.features.observables(stars, REGION)).scores
    np.testing.assert_allclose(scores.log_profile, 0, atol=1e-4)
    np.testing.assert_allclose(scores.spatial_gain, 0, atol=1e-4)


def test_without_a_search_a_rich_cluster_is_a_group_of_k_means(benchmark):
    ablation = benchmark("ablation")
    stars = inject_cluster(simulate_field(REGION, 600, seed=1), REGION, SimulatedCluster(80, -3.0, 2.0, 1.1, 4.0))
    with ablation.applied(ablation.MIXTURE["medians of K-Means' groups, no search"]):
        fit = ablation.pretrain.solve(ablation.features.observables(stars, REGION))
    np.testing.assert_allclose(fit.mean, [-3.0, 2.0, 1.1], atol=0.1)


def test_some_rows_of_the_tables(benchmark):
    """Each after the one it is compared with; a name that is in no table is refused."""
    ablation = benchmark("ablation")
    for table in (ablation.MIXTURE, ablation.HEAD):
        asked = list(table)[-1]
        assert list(ablation.chosen(table, [asked])) == ["all stages", asked]
        assert ablation.chosen(table, ()) == table
    with pytest.raises(SystemExit):
        ablation.main(["FIELDS", "--examples", "EXAMPLES", "--variants", "no stars"])


def test_a_table_is_made_if_one_of_its_rows_is_asked_for(benchmark, monkeypatch, capsys):
    ablation, made = benchmark("ablation"), []
    monkeypatch.setattr(ablation, "run_mixture", lambda *_: made.append("mixture") or {})
    monkeypatch.setattr(ablation, "run_head", lambda *_: made.append("head") or {})
    monkeypatch.setattr(ablation.pretrain, "load_examples", lambda _: [])
    command = ["FIELDS", "--examples", "EXAMPLES"]
    for options, tables in (
        ([], ["mixture", "head"]),
        (["--only", "head"], ["head"]),
        (["--variants", "no perspective"], ["mixture"]),
        (["--variants", "no RUWE"], ["head"]),
        (["--variants", "no RUWE", "no arcsinh"], ["mixture", "head"]),
    ):
        made.clear()
        assert ablation.main([*command, *options]) == 0
        assert made == tables
    with pytest.raises(SystemExit):
        ablation.main([*command, "--only", "head", "--variants", "no perspective"])
    assert "the table of the head has no such row; leave out --only" in capsys.readouterr().err


def test_what_a_significance_is_worth(benchmark, capsys):
    significance, injections = benchmark("significance"), benchmark("injections")
    injections._BACKGROUNDS["made up"] = simulate_field(REGION, 900, seed=1), REGION
    clusters = [significance.run(0, (40.0, 60.0), index) for index in range(3)]
    nulls = [significance.run(0, None, index) for index in range(3)]
    assert all(name == "made up" and 40 <= members <= 60 for name, members, _ in clusters)
    assert all(members == 0 and all(f1 == 0 for *_, f1 in found) for _, members, found in nulls)
    assert all(found[0][1] < found[0][0] for _, _, found in clusters)  # places are taken off
    assert all(max(found)[2] > 0.5 for _, _, found in clusters)
    significance.report(clusters, nulls)
    told = capsys.readouterr().out
    assert "3 fields without a cluster, 3 of them without another one" in told
    assert "significance 6: 0.00%, 0.00%" in told
    assert "30 to 60 stars (3): 100.0%, 100.0%" in told


def test_answers_about_injected_clusters(benchmark, capsys):
    injections = benchmark("injections")
    injections._BACKGROUNDS["made up"] = simulate_field(REGION, 900, seed=1), REGION
    tables = injections.Tables()
    asked = (injections.run_cluster(0, (40.0, 60.0), False, tables, index) for index in range(2))
    rows = [row for row in asked if row is not None]
    assert all(row["f1"] > 0.8 and row["pieces"] == 1 and row["truth"].sum() == row["members"] for row in rows)
    injections.report_clusters(rows)
    mean = sum(row["f1"] for row in rows) / len(rows)
    told = capsys.readouterr().out
    assert f"{len(rows)} injected clusters: mean F1 {mean:.4f}" in told
    # The reliability of all, and without the cluster that is furthest off.
    furthest, other = sorted(rows, key=lambda row: -abs(row["sum_p"] - row["members"]))
    assert f"furthest off: {furthest['members']} members in made up" in told
    assert f"all together: sum of p {sum(row['p'].sum() for row in rows):.0f}," in told
    assert told.index("furthest off") < told.index(f"members {other['members']}\n")
    null = injections.run_null(0, "shuffled", tables, 0)
    assert null["false"] == 0
    injections.report_nulls({"shuffled": [null, null | {"false": 9, "significance": 9.0}]}, 6.0)
    told = capsys.readouterr().out
    assert "over 6 in 1" in told
    assert "made up: 1, significance 9.0 to 9.0" in told


def test_cut_tables(benchmark):
    """Few stars are as near to the motion of a cluster, and none may be to that of a star."""
    injections = benchmark("injections")
    field = simulate_field(REGION, 900, seed=1)
    injections._BACKGROUNDS["made up"] = field, REGION
    whole, cut, precise = (
        injections.run_cluster(0, (40.0, 60.0), False, injections.Tables(*limits), 0)
        for limits in ((), (3.0,), (None, 3.0))
    )
    assert 40 <= cut["stars"] < whole["stars"] / 2
    assert 40 <= precise["stars"] < whole["stars"]
    assert min(cut["f1"], precise["f1"]) > 0.8
    assert injections.run_null(0, "shuffled", injections.Tables(0.1), 0) is None
    assert injections.run_null(0, "shuffled", injections.Tables(None, 1e4), 0) is None
    assert len(injections.shuffled(field, np.random.default_rng(0), (40, 60))) in range(40, 61)
    near = injections.near_motion(field, 1.0, 2.0, 3.0)
    assert 0 < near.sum() < 900
    assert abs(field["pmra"][near] - 1).max() < 3 > abs(field["pmdec"][near] - 2).max()


def test_clusters_near_by_in_wide_fields(benchmark, capsys):
    injections = benchmark("injections")
    row = injections.run_wide(0, 0)
    assert row["f1"] > 0.9
    assert row["f1_without"] <= row["f1"]
    assert 15 <= row["members"] <= 300
    assert 120 <= row["footprint"] <= 600
    injections.report_wide([row, row | {"f1": 0.9, "f1_without": 0.2}])
    told = capsys.readouterr().out
    assert f", with perspective: mean F1 {(row['f1'] + 0.9) / 2:.4f}, worst 0.900, 0 lost" in told
    assert f", without perspective: mean F1 {(row['f1_without'] + 0.2) / 2:.4f}, worst 0.200, 1 lost" in told


def test_another_version_can_have_the_same_fields(benchmark, tmp_path):
    """What the fields lose is kept, and then not asked for again."""
    injections = benchmark("injections")
    stars = inject_cluster(simulate_field(REGION, 600, seed=1), REGION, SimulatedCluster(80, -3.0, 2.0, 1.1, 4.0))
    stars["source_id"] = np.arange(len(stars)) + 2**60
    listed = Table({"source_id": stars["source_id"][-80:-40], "label": np.ones(40, int)})
    for folder, table in (("stars", stars), ("truth", listed)):
        (tmp_path / folder).mkdir()
        table.write(tmp_path / folder / "made_up.fits")
    entry = {"name": "made_up", "ra": 120.0, "dec": -35.0, "radius_arcmin": 20.0, "cluster": "made up"}
    (tmp_path / "manifest.json").write_text(json.dumps([entry]))
    kept = tmp_path / "without.json"
    first, _ = injections.empty_fields(tmp_path, 1, kept)["made_up"]
    assert 500 < len(first) < 620
    assert not np.isin(listed["source_id"], first["source_id"]).any()
    left_out = json.loads(kept.read_text())
    assert set(left_out["made_up"]) == set(stars["source_id"].tolist()) - set(first["source_id"].tolist())
    kept.write_text(json.dumps({"made_up": left_out["made_up"][:7]}))
    again, _ = injections.empty_fields(tmp_path, 1, kept)["made_up"]
    assert len(again) == len(stars) - 7
