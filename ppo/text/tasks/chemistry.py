"""Molecules by RDKit: the canonical SMILES of a text, and how drug-like a molecule is, or how similar to a drug."""

from collections.abc import Callable
from typing import Any

from ppo.errors import UsageError, extra
from ppo.machine.imports import is_installed

DRUGS = {"celecoxib": "CC1=CC=C(C=C1)C1=CC(=NN1C1=CC=C(C=C1)S(N)(=O)=O)C(F)(F)F"}
REWARDS = ("qed", "similarity")
RADIUS = 2  # in bonds: ECFP4 looks at neighbourhoods with a diameter of 4
BITS = 1024  # of a fingerprint, for the internal diversity

DEFAULT = "celecoxib"  # the target without another one

Judge = Callable[[str], tuple[str, float]]  # of a text: the canonical SMILES and the score, or "" and 0


def judge(reward: str, target: str) -> Judge:
    """Return a function that judges a text.

    Args:
        reward: qed, the quantitative estimate of drug-likeness (Bickerton et al. 2012); or similarity, the Tanimoto similarity of
            ECFP4 fingerprints with counts to the target (Rogers and Hahn 2010), as in GuacaMol (Brown et al. 2019). Both are from 0 to 1.
        target: for similarity: the name of a drug in `DRUGS`, or a SMILES; empty: celecoxib.

    Raises:
        UsageError: the reward is unknown or has no target, the target is not a molecule, or RDKit is not installed.
    """
    if reward not in REWARDS:
        raise UsageError(f"reward = {reward!r} is unknown; choose {', '.join(REWARDS)}")
    if reward == "qed" and target:
        raise UsageError(
            f"target = {target!r} has no effect on the reward qed; give reward = 'similarity', or leave it out"
        )
    chem = _chem()
    from rdkit.Chem import QED

    score = QED.qed if reward == "qed" else _similarity(target or DEFAULT)

    def judge_text(text: str) -> tuple[str, float]:
        molecule = chem.MolFromSmiles(text) if text else None
        return ("", 0.0) if molecule is None else (chem.MolToSmiles(molecule), float(score(molecule)))

    return judge_text


def canonical(text: str) -> str:
    """Return the canonical SMILES of a text; "" if it is not a molecule.

    Raises:
        UsageError: RDKit is not installed.
    """
    chem = _chem()
    molecule = chem.MolFromSmiles(text) if text else None
    return "" if molecule is None else str(chem.MolToSmiles(molecule))


def _chem() -> Any:
    if not is_installed("rdkit"):
        raise UsageError(f"text/Molecules-v0 needs rdkit; {extra('molecules')}")
    from rdkit import Chem, RDLogger

    RDLogger.DisableLog("rdApp.*")  # which reports every text that is not a molecule
    return Chem


def _similarity(target: str) -> Callable[[Any], float]:
    from rdkit import Chem, DataStructs
    from rdkit.Chem import rdFingerprintGenerator

    molecule = Chem.MolFromSmiles(DRUGS.get(target, target))
    if molecule is None:
        raise UsageError(f"target = {target!r} is not a molecule; give a SMILES or one of {', '.join(DRUGS)}")
    fingerprint = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS).GetSparseCountFingerprint
    own = fingerprint(molecule)
    return lambda other: DataStructs.TanimotoSimilarity(own, fingerprint(other))


def diversity(smiles: list[str]) -> float:
    """Return the internal diversity of molecules: 1 minus the mean Tanimoto similarity of two, also of one and itself, as in MOSES.

    Args:
        smiles: of valid molecules; 0 if there are none.
    """
    from rdkit import Chem, DataStructs
    from rdkit.Chem import rdFingerprintGenerator

    fingerprint = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS).GetFingerprint
    bits = [fingerprint(Chem.MolFromSmiles(text)) for text in smiles]
    similarities = [sum(DataStructs.BulkTanimotoSimilarity(own, bits)) for own in bits]
    return 1 - sum(similarities) / len(bits) ** 2 if bits else 0.0
