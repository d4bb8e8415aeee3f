"""Chemistry: what a molecule is, its drug-likeness, and its similarity to a drug."""

import pytest

from ppo import UsageError
from ppo.text.tasks import chemistry
from ppo.text.tasks.chemistry import DRUGS, canonical, diversity, judge


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(chemistry, "is_installed", lambda module: False)
    with pytest.raises(UsageError, match=r'^text/Molecules-v0 needs rdkit; pip install -e "\.\[molecules\]"$'):
        judge("qed", "")


def test_an_unknown_reward_is_refused_with_those_that_there_are():
    with pytest.raises(UsageError, match="reward = 'logp' is unknown; choose qed, similarity"):
        judge("logp", "")


def test_a_target_without_similarity_is_refused():
    with pytest.raises(UsageError, match="target = 'CCO' has no effect on the reward qed; give reward = 'similarity'"):
        judge("qed", "CCO")


def test_texts_of_the_same_molecule_have_one_canonical_form():
    pytest.importorskip("rdkit")
    benzene = judge("qed", "")("C1=CC=CC=C1")
    assert benzene == judge("qed", "")("c1ccccc1")
    assert benzene[0] == canonical("C1=CC=CC=C1") == "c1ccccc1"
    assert canonical("C1CC") == ""
    assert benzene[1] == pytest.approx(0.4426, abs=1e-3)
    assert [judge("qed", "")(text) for text in ("", "C1CC", "cc", "C(", "C=C=O=C")] == [("", 0.0)] * 5


def test_similarity_is_1_for_the_drug_and_less_for_the_next():
    pytest.importorskip("rdkit")
    score = judge("similarity", "")  # celecoxib
    assert score(DRUGS["celecoxib"]) == ("Cc1ccc(-c2cc(C(F)(F)F)nn2-c2ccc(S(N)(=O)=O)cc2)cc1", 1.0)
    valdecoxib, ethanol = score("Cc1onc(c1c1ccc(cc1)S(N)(=O)=O)c1ccccc1")[1], score("CCO")[1]
    assert 0.05 > ethanol >= 0
    assert 0.2 < valdecoxib < 0.8
    assert judge("similarity", "CCO")("OCC")[1] == 1
    with pytest.raises(UsageError, match="target = 'aspirin' is not a molecule; give a SMILES or one of celecoxib"):
        judge("similarity", "aspirin")


def test_diversity_is_1_minus_the_mean_similarity_of_all_pairs():
    pytest.importorskip("rdkit")
    assert diversity([]) == diversity(["CCO"]) == diversity(["CCO", "OCC"]) == 0
    assert diversity(["C", "N"]) == 0.5  # nothing in common, but each with itself
    assert 0.5 < diversity(["CCO", "c1ccccc1", "NC(=O)F"]) < 2 / 3
