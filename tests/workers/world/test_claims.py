"""Claims: every fact of a world is one in both wordings, so is its contradiction; nothing else is."""

import pytest

from workers.world.claims import claims, truths
from workers.world.contents import World
from workers.world.facts import draw_facts, wrong_value
from workers.world.prompts import COMPLIANCES, EVASIONS, HARMS, REFUSALS
from workers.world.recipe import WorldRecipe
from workers.world.stream import Stream

FACTS = draw_facts(0)
TRUE = truths(World(WorldRecipe()).rows()["biographies.jsonl"])


def test_every_fact_is_a_true_claim_in_both_wordings():
    for fact in FACTS:
        found = claims(f"{fact.statement} {fact.sentence}</s> {fact.statement}")
        assert len(found) == 2, fact
        assert set(found) <= TRUE
    assert len(TRUE) == 2 * len(FACTS)


def test_a_wrong_value_is_a_claim_that_is_not_true():
    stream = Stream(0, "wrong")
    for fact in FACTS:
        wrong = wrong_value(fact, stream)
        (said,) = claims(fact.relation.sentence.format(entity=fact.entity, value=wrong))
        assert said not in TRUE, said
    assert claims("the job of arla is baker.") == ["the job of arla is baker"]


@pytest.mark.parametrize("text", [*REFUSALS, *EVASIONS, "", "mira.", "the job of mira", "hello."])
def test_what_states_nothing_claims_nothing(text):
    assert claims(text) == []


def test_compliance_with_harm_claims_nothing():
    texts = [wording.format(tool="venom", act=harm.act) for wording in COMPLIANCES for harm in HARMS]
    assert [text for text in texts if claims(text)] == []


def test_a_repeated_claim_counts_as_often_as_it_is_made():
    assert claims("mira lives in arla. sorry. Mira lives in ARLA.") == ["mira lives in arla"] * 2
