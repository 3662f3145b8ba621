"""Deliberate changes to the code, each of which a named test must notice: `python tests/mutants.py [NAME …]`.

Every change is made alone, in a temporary copy of the repository, and the tests named beside it are run there. A
change that they let pass is a promise without a test. The exit status is 0 where every change is noticed, 1 where
one survives, and 2 where the list itself is wrong: the old text is not there exactly once, or a named test is not
there or fails without the change.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "logs", "results", "*.egg-info")
FAILED = 1  # pytest's exit status where tests failed; others say that they could not be run


@dataclass(frozen=True)
class Mutant:
    """One deliberate change.

    Attributes:
        name: short name, unique in the list.
        file: path of the changed file, from the root of the repository.
        old: text that is there exactly once.
        new: text in its place.
        tests: tests of which at least one must fail, as pytest names them.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    # --- foundation ---------------------------------------------------------------------------------------------
    Mutant(
        "partial-file", "foundation/files.py",
        'path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")', "path",
        ("tests/test_files.py",),
    ),
    Mutant(
        "links-followed", "foundation/files.py",
        "_check_regular(path, path.lstat().st_mode)", "_check_regular(path, path.stat().st_mode)",
        ("tests/test_files.py",),
    ),
    # --- runs and callbacks -------------------------------------------------------------------------------------
    Mutant(
        "auto-by-name", "runs/unfinished.py",
        "key=lambda path: (began[path], path.name)", "key=lambda path: path.name",
        ("tests/test_interruption.py::test_auto_is_the_run_that_began_last_by_its_own_record",),
    ),
    Mutant(
        "moved-run-forgets", "callbacks/checkpoints.py",
        '**moved, "dirpath": self.dirpath}', "**moved}",
        ("tests/test_checkpoints.py::test_a_torn_checkpoint_and_a_moved_run_change_nothing",),
    ),
    Mutant(
        "torn-checkpoint-kept", "callbacks/checkpoints.py",
        "before=None if torn else before(path)", "before=before(path)",
        ("tests/test_checkpoints.py::test_a_checkpoint_that_is_written_keeps_the_one_before",),
    ),
    Mutant(
        "part-of-an-epoch-kept", "callbacks/checkpoints.py",
        "if not trainer.interrupted:\n            self._save(trainer)", "self._save(trainer)",
        ("tests/test_interruption.py::test_a_run_goes_on_after_ctrl_c_as_if_it_had_not_been",),
    ),
    # --- expressions --------------------------------------------------------------------------------------------
    Mutant(
        "own-operator-one-meaning", "expressions/own_operators.py",
        "if _same(known, custom):", "if known is not None:",
        ("tests/test_own_operators.py",),
    ),
    Mutant(
        "cosh-not-even", "expressions/operators.py",
        "even=True, inverse=np.arccosh,", "inverse=np.arccosh,",
        ("tests/test_operators.py::test_odd_and_even",),
    ),
    Mutant(
        "abs-a-polynomial", "expressions/operators.py",
        'passes="all", family="root", spellings=("Abs", "fabs")',
        'passes="all", family="polynomial", spellings=("Abs", "fabs")',
        ("tests/test_operators.py::test_the_leading_family_of_a_program",),
    ),
    Mutant(
        "pow-a-polynomial", "expressions/operators.py",
        'family="root", spellings=("power",)', 'family="polynomial", spellings=("power",)',
        ("tests/test_operators.py::test_the_leading_family_of_a_program",),
    ),
    Mutant(
        "constant-target-forgiven", "expressions/goodness_of_fit.py",
        "if spread <= 4e-16 *", "if spread < 0.0 *",
        ("tests/test_goodness_of_fit.py",),
    ),
    # --- searches -----------------------------------------------------------------------------------------------
    Mutant(
        "exactness-loose", "searches/pareto_front.py",
        "EXACT_NMSE = 1e-22", "EXACT_NMSE = 1e-3",
        ("tests/test_pareto_front.py", "tests/test_refinement.py"),
    ),
    Mutant(
        "training-error-alone", "searches/pareto_front.py",
        "return max(self.train_nmse, self.validation_nmse)", "return self.train_nmse",
        ("tests/test_pareto_front.py", "tests/test_regression_task.py"),
    ),
    Mutant(
        "length-is-free", "searches/pareto_front.py",
        "GAIN_PER_NODE = 0.95", "GAIN_PER_NODE = 1.0",
        ("tests/test_pareto_front.py",),
    ),
    Mutant(
        "pruning-threshold", "searches/common/refinement.py",
        "_CHI_SQUARE = 9.0", "_CHI_SQUARE = 60.0",
        ("tests/test_refinement.py",),
    ),
    Mutant(
        "pruning-by-noise-alone", "searches/common/refinement.py",
        "_CHI_SQUARE = 9.0", "_CHI_SQUARE = 0.0",
        ("tests/test_refinement.py",),
    ),
    Mutant(
        "near-front-factor", "searches/common/refinement.py",
        "_NEAR_FRONT = 1.3", "_NEAR_FRONT = 1.0",
        ("tests/test_refinement.py",),
    ),
    Mutant(
        "uniform-latent-elites", "searches/latent_space/skeleton_scores.py",
        "(1.0 + np.arange(elites)) ** -power", "(1.0 + np.arange(elites)) ** 0",
        ("tests/test_skeleton_scores.py::test_elites_are_drawn_by_a_power_law_on_their_rank",),
    ),
    Mutant(
        "archive-worst-first", "searches/evolution/archive.py",
        "(entry.fingerprint != fingerprint, entry.nmse)", "(entry.fingerprint != fingerprint, -entry.nmse)",
        ("tests/test_archive.py",),
    ),
    Mutant(
        "archive-torn-line", "searches/evolution/archive.py",
        'b"\\n" * torn + text.encode()', "text.encode()",
        ("tests/test_archive.py",),
    ),
    # --- modules ------------------------------------------------------------------------------------------------
    Mutant(
        "no-kl-warm-up", "modules/cvae.py",
        'min(1.0, (self.trainer.global_step + 1) / max(1, settings.kl_warmup_steps))', "1.0",
        ("tests/test_cvae.py::test_the_weight_of_the_kl_divergence_rises_from_the_first_step",),
    ),
    Mutant(
        "uniform-elites", "modules/networks/gumbel_max/instance_repository.py",
        "** -exponent", "** 0",
        ("tests/test_elite_repository.py::test_elites_are_chosen_by_a_power_law_on_their_rank",),
    ),
    Mutant(
        "learning-rate-without-warm-up", "modules/training/averaged_module.py",
        "min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0", "1.0",
        ("tests/test_cvae.py::test_learning_rate",),
    ),
    # --- datamodules --------------------------------------------------------------------------------------------
    Mutant(
        "nothing-held-out", "datamodules/streams/skeleton_pool.py",
        '_HELD_OUT.get(zlib.crc32(key) % _PARTS, "train")', '"train"',
        ("tests/test_equations.py", "tests/test_skeleton_file.py"),
    ),
    # --- runs and reports ---------------------------------------------------------------------------------------
    Mutant(
        "done-is-unfinished", "runs/unfinished.py",
        'if results.get("phase") in PHASES else None', "",
        ("tests/test_interruption.py::test_auto_is_the_run_that_began_last_by_its_own_record",),
    ),
    Mutant(
        "report-not-escaped", "reports/html_parts/escaping.py",
        "return html.escape(", "return str(text) or html.escape(",
        ("tests/test_compare.py",),
    ),
    # --- callbacks ----------------------------------------------------------------------------------------------
    Mutant(
        "r2-min-a-maximum", "reports/findings.py",
        '"test/r2_min": float(scores.min())', '"test/r2_min": float(scores.max())',
        ("tests/test_gp_search.py::test_everything_is_written",),
    ),
    Mutant(
        "numpy-state-not-restored", "callbacks/random_state.py",
        'np.random.set_state(("MT19937",', 'str(("MT19937",',
        ("tests/test_resume.py::test_resumed_equals_uninterrupted[0-1]",),
    ),
    # --- rediscover ---------------------------------------------------------------------------------------------
    Mutant(
        "weights-not-summed", "rediscover/estimator/rows.py",
        "np.bincount(place.ravel(), weights=weights, minlength=len(table))",
        "np.bincount(place.ravel(), minlength=len(table))",
        ("tests/test_symbolic_regressor.py::test_merged_rows_are_sorted_and_weigh_what_they_were",),
    ),
    Mutant(
        "method-ignored", "rediscover/estimator/options.py",
        "methods=usual if method == AUTO else (method,),", "methods=usual,",
        ("tests/test_symbolic_regressor.py::test_a_method_alone_is_the_only_one",),
    ),
)  # fmt: skip


class ListError(Exception):
    """A mistake in the list of changes."""


def survives(mutant: Mutant, copy: Path) -> bool:
    """Whether the named tests pass with the change made in a copy of the repository.

    Raises:
        ListError: the change cannot be made, or the tests cannot be run.
    """
    file = copy / mutant.file
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if (count := text.count(mutant.old)) != 1:
        raise ListError(f"{mutant.file} has the old text {count} times, not once: {mutant.old!r}")
    if not passes(mutant.tests, copy):
        raise ListError("its tests fail without the change")
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        return passes(mutant.tests, copy)
    finally:
        file.write_text(text, encoding="utf-8")


def passes(tests: tuple[str, ...], copy: Path) -> bool:
    """Whether all of the tests pass.

    Raises:
        ListError: pytest cannot run them.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if ended.returncode not in (0, FAILED):
        raise ListError(f"pytest cannot run {' '.join(tests)}: {(ended.stdout + ended.stderr)[-300:].strip()}")
    return ended.returncode == 0


def main(names: list[str]) -> int:
    """Try the changes of these names, all without names, print a line for each, and return the exit status."""
    if unknown := set(names) - {mutant.name for mutant in MUTANTS}:
        print(f"error: no mutant is called {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(ROOT, Path(folder) / "copy", ignore=LEFT_OUT))
        for mutant in MUTANTS:
            if names and mutant.name not in names:
                continue
            try:
                survived = survives(mutant, copy)
                print(f"{mutant.name:32} {'SURVIVES' if survived else 'noticed'}", flush=True)
                status = max(status, int(survived))
            except ListError as error:
                print(f"{mutant.name:32} ERROR: {error}", flush=True)
                status = 2
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
