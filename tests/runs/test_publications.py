"""Publications as a table of events: who lives, who carries what, what is withdrawn."""

import pytest

from valor_ray.errors import PolicyError
from valor_ray.runs.publications import (
    NOTHING,
    Carried,
    Publication,
    Publications,
    Transfer,
    publication_from,
    publication_record,
    version_name,
    version_step,
)

GONE = 10.0


@pytest.fixture
def state() -> Publications:
    return Publications(GONE)


def carry(state: Publications, replica: str, now: float) -> None:
    assert state.current is not None
    answer = Carried(replica, state.current.version, [[-0.5]])
    state.carried(state.current.number, answer, now)


@pytest.mark.parametrize(
    ("step", "name"), [(0, "step-000000"), (12, "step-000012"), (1234567, "step-1234567")]
)
def test_names_of_versions_and_back(step: int, name: str) -> None:
    assert version_name(step) == name and version_step(name) == step


@pytest.mark.parametrize("name", ["base", "step-12", "step-000012.part", "xstep-000012", ""])
def test_a_version_that_no_training_published_is_refused(name: str) -> None:
    with pytest.raises(PolicyError, match="age is unknown"):
        version_step(name)


def test_nothing_is_complete_without_a_replica(state: Publications) -> None:
    state.publish("step-000000", "/w/0")
    assert not state.complete(0)
    carry(state, "a", 1)
    assert state.complete(1)


def test_complete_when_every_live_replica_has_answered(state: Publications) -> None:
    state.called("a", 0, 0)
    state.called("b", 0, 0)
    state.publish("step-000000", "/w/0")
    carry(state, "b", 1)
    assert state.behind(1) == ["a"] and not state.complete(1)
    carry(state, "a", 2)
    assert state.complete(2) and [answer.replica for answer in state.answers(2)] == ["a", "b"]
    assert state.answers(2)[0].logprobs == [[-0.5]]


def test_nobody_waits_for_a_replica_that_is_gone(state: Publications) -> None:
    state.called("dead", 0, 0)
    state.called("a", 0, 0)
    state.publish("step-000000", "/w/0")
    carry(state, "a", 5)
    assert state.behind(GONE) == ["dead"]
    assert state.complete(GONE + 0.1) and state.live(GONE + 0.1) == ["a"]


def test_a_replica_that_comes_back_is_waited_for_again(state: Publications) -> None:
    state.publish("step-000000", "/w/0")
    carry(state, "a", 0)
    state.called("b", 0, 20)
    state.called("a", 1, 20)
    assert state.behind(20) == ["b"]


@pytest.mark.parametrize(
    "version", ["step-000001", "step-000002", "step-000000"], ids=["again", "on", "back"]
)
def test_every_publication_is_news_to_who_carries_another(state: Publications, version: str) -> None:
    state.publish("step-000001", "/w/1")
    carry(state, "a", 0)
    assert state.newer(1) is None
    later = state.publish(version, "/w/x")
    assert state.newer(1) == later == Publication(2, version, "/w/x") and state.behind(0) == ["a"]


def test_an_answer_that_comes_late_does_not_count_for_the_next_publication(state: Publications) -> None:
    first = state.publish("step-000001", "/w/1")
    state.publish("step-000002", "/w/2")
    state.carried(first.number, Carried("a", "step-000001"), 0)
    assert state.behind(0) == ["a"] and state.answers(0) == []


def test_weights_that_one_replica_refuses_are_withdrawn_for_all(state: Publications) -> None:
    first = state.publish("step-000001", "/w/1")
    carry(state, "a", 0)
    carry(state, "b", 0)
    bad = state.publish("step-000002", "/w/2")
    carry(state, "a", 1)
    state.refused("b", bad.number, "no such tensor")
    assert state.refusal(bad.number) == "b: no such tensor" and state.current == first
    assert state.newer(bad.number) == first and state.behind(1) == ["a"]
    assert state.publish("step-000002", "/w/2").number == bad.number + 1


def test_a_late_refusal_withdraws_nothing(state: Publications) -> None:
    first = state.publish("step-000001", "/w/1")
    second = state.publish("step-000002", "/w/2")
    state.refused("b", first.number, "no such tensor")
    assert state.current == second and state.refusal(first.number) is None


def test_without_a_publication_before_it_a_refused_one_leaves_what_the_settings_name(
    state: Publications,
) -> None:
    state.called("a", NOTHING, 0)
    assert state.behind(0) == [] and state.newer(NOTHING) is None
    bad = state.publish("step-000001", "/w/1")
    carry(state, "a", 1)
    state.refused("b", bad.number, "no such tensor")
    assert state.current is None and state.withdrawn == ("step-000001", "b: no such tensor")
    back = state.newer(bad.number)
    assert back is not None and back.number == NOTHING and state.behind(1) == ["a"]
    state.called("a", NOTHING, 2)
    assert state.behind(2) == []
    state.publish("step-000002", "/w/2")
    assert state.withdrawn is None


def test_what_another_process_publishes_keeps_its_number_unless_that_is_taken(state: Publications) -> None:
    state.adopt(Publication(4, "step-000004", "/w/4"))
    assert state.current == Publication(4, "step-000004", "/w/4")
    carry(state, "a", 0)
    state.adopt(Publication(1, "step-000001", "/w/1"))  # of a run that was made anew in the same folder
    assert state.current == Publication(5, "step-000001", "/w/1") and state.behind(0) == ["a"]
    state.refused("a", 5, "no such tensor")
    assert state.current == Publication(4, "step-000004", "/w/4") and state.behind(0) == []
    state.adopt(Publication(5, "step-000005", "/w/5"))
    assert state.current == Publication(6, "step-000005", "/w/5")  # 5 was refused
    state.adopt(None)
    assert state.current is None


def test_after_a_restart_numbers_go_on_and_replicas_need_not_load_again() -> None:
    before = Publication(7, "step-000006", "/w/6", (((1, 2), (3,)),))
    state = Publications(GONE, publication_from(publication_record(before)))
    state.called("a", 7, 0)
    assert state.current == before and state.newer(7) is None and state.complete(0)
    assert state.publish("step-000007", "/w/7").number == 8


def test_a_restart_without_its_file_repeats_no_number_that_a_replica_carries() -> None:
    state = Publications(GONE)
    state.called("a", 7, 0)
    assert state.publish("step-000007", "/w/7").number == 8


TO_A_AND_B = Transfer("group", ("a", "b"), "{}", "{}")


def test_a_transfer_is_for_its_members_and_others_keep_to_the_last_folder(state: Publications) -> None:
    state.called("a", 0, 0)
    state.called("late", 0, 0)
    folder = state.publish("step-000001", "/w/1")
    carry(state, "a", 1)
    carry(state, "late", 1)
    live = state.publish("step-000002", "", (), TO_A_AND_B)
    assert state.newer(folder.number, "a") == live and state.newer(folder.number, "late") is None
    assert state.newer(0, "new") == folder  # one that starts now
    assert state.behind(2) == ["a"] and not state.complete(2)
    carry(state, "a", 3)
    assert state.complete(3) and [answer.replica for answer in state.answers(3)] == ["a"]
    later = state.publish("step-000003", "/w/3")
    assert state.newer(live.number, "a") == state.newer(folder.number, "late") == later == state.snapshot


def test_a_transfer_without_a_live_member_is_never_complete(state: Publications) -> None:
    state.publish("step-000001", "/w/1")
    carry(state, "late", 1)
    state.publish("step-000002", "", (), TO_A_AND_B)
    assert state.behind(1) == [] and not state.complete(1)


def test_a_refused_transfer_leaves_its_members_what_they_had(state: Publications) -> None:
    folder = state.publish("step-000001", "/w/1")
    first = state.publish("step-000002", "", (), TO_A_AND_B)
    carry(state, "a", 1)
    second = state.publish("step-000003", "", (), TO_A_AND_B)
    state.refused("b", second.number, "no space")
    assert state.current == first and state.snapshot == folder
    assert state.newer(first.number, "a") is None
    assert state.newer(0, "b, started again") == folder


def test_a_transfer_that_came_wrongly_is_given_up_for_the_last_folder_by_all(state: Publications) -> None:
    folder = state.publish("step-000001", "/w/1")
    state.publish("step-000002", "", (), TO_A_AND_B)
    carry(state, "a", 1)
    wrong = state.publish("step-000003", "", (), TO_A_AND_B)
    carry(state, "a", 2)
    carry(state, "b", 2)
    state.withdraw("b", "step-000002", "no longer current: nothing")
    assert state.current == wrong
    state.withdraw("b", "step-000003", "another tensor")
    assert state.current == state.snapshot == folder and state.withdrawn == (
        "step-000003",
        "b: another tensor",
    )
    assert state.newer(wrong.number, "a") == state.newer(wrong.number, "b") == folder


def test_a_refused_folder_is_no_snapshot(state: Publications) -> None:
    folder = state.publish("step-000001", "/w/1")
    bad = state.publish("step-000002", "/w/2")
    state.refused("a", bad.number, "odd")
    assert state.current == state.snapshot == folder
