import pytest

from results.journal import Index, Journal
from tests.results.lab import Lab, attempt


def index_of(lab):
    index = Index(lab.workspace)
    index.refresh()
    return index


def test_a_claim_is_open_until_it_ends(tmp_path):
    lab = Lab.at(tmp_path)
    token = lab.claim("s1")
    index = index_of(lab)
    assert index.open == {"s1": {token: "writer"}}
    lab.journal.ended(attempt("s1", token, "done"))
    assert index.refresh() == {"s1"}
    assert (index.open, index.done) == ({}, {"s1": token})


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_an_end_noted_by_another_writer_closes_the_claim_in_any_order_of_files(tmp_path, first, second):
    lab = Lab.at(tmp_path)
    Journal(lab.workspace, first).claimed("s1", "t1", 1.0)
    Journal(lab.workspace, second).ended(attempt("s1", "t1", "lost"))
    index = index_of(lab)
    assert index.open == {}
    assert index.ending("s1") == "lost"


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_a_commit_after_one_that_was_taken_back_stands_in_any_order_of_files(tmp_path, first, second):
    lab = Lab.at(tmp_path)
    Journal(lab.workspace, first).committed("s1", "old", "diverged")
    Journal(lab.workspace, first).forgotten("s1", "old")
    Journal(lab.workspace, second).committed("s1", "new")
    index = index_of(lab)
    assert index.done == {"s1": "new"}
    assert index.diverged == set()


def test_a_commit_found_on_disk_may_be_a_diverged_one(tmp_path):
    lab = Lab.at(tmp_path)
    lab.journal.committed("s1", "t1", "diverged")
    assert index_of(lab).diverged == {"s1"}


def test_a_half_written_line_waits_and_a_damaged_one_is_passed_over(tmp_path):
    lab = Lab.at(tmp_path)
    lab.claim("s1")
    path = tmp_path / "journals" / "writer.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b'{"event": "ended", "stage": "s9"}\nnot json\n' + whole[:-5])
    index = index_of(lab)
    assert index.open == {}
    path.write_bytes(b'{"event": "ended", "stage": "s9"}\nnot json\n' + whole)
    index.refresh()
    assert list(index.open) == ["s1"]


def test_an_index_goes_on_from_where_another_stopped(tmp_path):
    lab = Lab.at(tmp_path)
    token = lab.claim("s1")
    before = index_of(lab)
    after = Index.at(lab.workspace, before.offsets, before.open)
    assert after.refresh() == set()
    lab.journal.ended(attempt("s1", token, "bug"))
    assert after.refresh() == {"s1"}
    assert after.open == {}
    assert before.open == {"s1": {token: "writer"}}


def test_a_journal_that_was_made_anew_is_read_from_its_start(tmp_path):
    lab = Lab.at(tmp_path)
    lab.run("s1")
    index = index_of(lab)
    (tmp_path / "journals" / "writer.jsonl").unlink()
    lab.claim("s2")
    assert index.refresh() == {"s2"}
