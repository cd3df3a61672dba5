"""The comparison of golden links' numbers finds what has changed, and nothing else."""

import json

from tests.golden_digests import differences, main

QUICK = "/?land=rosenbrock&opt1=gd&opt1.lr=0.001&steps=5"
OTHER = "/?land=rosenbrock&opt1=gd&opt1.lr=0.002&steps=5"


def test_what_was_written_compares_equal_and_a_changed_number_is_named(tmp_path, capsys):
    links, file = tmp_path / "links.txt", tmp_path / "before.json"
    links.write_text(QUICK)
    options = [str(file), "--links", str(links)]
    assert main(["write", *options]) == 0
    assert main(["compare", *options]) == 0
    assert "bit for bit" in capsys.readouterr().out
    before = json.loads(file.read_text())
    name = next(iter(before["links"][QUICK]))
    before["links"][QUICK][name] = "0" * 64
    file.write_text(json.dumps(before))
    assert main(["compare", *options]) == 1
    assert f"{name} differs: {QUICK}" in capsys.readouterr().out


def test_links_and_arrays_that_come_and_go_are_named():
    assert differences({QUICK: {"a": "1", "b": "2"}}, {QUICK: {"b": "2", "c": "3"}, OTHER: {"a": "1"}}) == [
        f"a is gone: {QUICK}",
        f"c is new: {QUICK}",
        f"a is new: {OTHER}",
    ]
