"""The page of benchmarks is what its script makes of the last result, and its tests exist."""

import json

from benchmarks import speed


def last_result():
    return max(speed.RESULTS.glob("speed-*.json"))


def test_the_page_is_made_from_the_last_result():
    source = last_result()
    expected = speed.page(json.loads(source.read_text()), source.name)
    assert speed.PAGE.read_text() == expected, f"python -m benchmarks.speed --page {source}"


def test_every_row_names_a_test_that_was_run():
    known = json.loads(last_result().read_text())["tests"]
    for name in speed.tests():
        file, function = name.split("::")
        text = (speed.ROOT / "benchmarks" / file).read_text()
        assert f"def {function.partition('[')[0]}(" in text
        assert name in known or "theirs" in name  # a peer that fails is left out, and its row has no ratio


def test_a_missed_target_is_shown_with_its_reason():
    tests = {row.ours: {"median": 1e9, row.extra: 2.0} for row in speed.TABLE}
    shown = speed.table({"tests": tests})
    assert shown.count("| missed |") == sum(bool(row.seconds or row.times) for row in speed.TABLE)
    assert "Missed:" in shown
    assert speed.duration(0.0123) == "12.3 ms"
