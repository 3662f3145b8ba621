"""Fit a model, test it, search for equations in it, and report.

    python train.py                                   the autoencoder on California Housing, all of it
    python train.py model=autoencoder data=tabular data.path=houses.csv data.target=price
    python train.py data=problem data.problem=nguyen  a benchmark problem, or a suite of them, a run each
    python train.py experiment=autoencoder_paper      a published setting
    python train.py model=cvae init=scratch           or pretrained, or a file of weights
    python train.py trainer=ddp trainer.devices=4     several GPUs
    python train.py model=weights_to_tokens data.network=FILE   the equation of a small network
    python train.py resume=auto                       go on with the newest run that was cut off
    python train.py -m seed=0,1,2                     a sweep
    python train.py -m hydra/sweeper=optuna optimize=test/r2_median   a search for settings

What the user can mend is one line on stderr, `error: ...`, and exit code 2; SIGTERM is exit code 143 with
everything saved; Ctrl-C in a fit is exit code 130 with a line that says what to type; a fault of the program keeps
its traceback.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from configs.complaints import explain
from configs.stored_settings import stored_words
from configs.words import checked_words
from foundation.boundary import refused
from foundation.child_processes import isolate_children
from foundation.terminal import encode_anything, warn
from rediscover.training import chosen_model, optimized, train
from runs import sigterm
from runs.command_line import arguments_of_a_suite, arguments_to_go_on, spelled_out
from runs.launch import check_launch
from runs.refused import nothing_left

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words behind the command, such as `["model=gmeql", "seed=1"]`; those of this process when not
            given.

    Returns:
        The exit code, 0.

    Raises:
        SystemExit: the user can mend something, which was said in one line (code 2); or the run was ended from
            outside after everything was saved (code 143), or by Ctrl-C (code 130).
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises, and what is said about it is said here
    isolate_children()
    encode_anything()
    sigterm.listen()
    words = sys.argv[1:] if arguments is None else arguments
    with _one_sentence():
        typed = spelled_out(checked_words(words))
        to_go_on = arguments_to_go_on(typed, chosen_model, stored_words)
        # Hydra reads this line, and Lightning starts the other processes of a run by it.
        sys.argv[:] = [__file__, *arguments_of_a_suite(to_go_on)]
        run_job()
    return 0


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def run_job(config: DictConfig) -> float | None:
    """One job: a configuration that Hydra has composed; a sweeper gets the metric that `optimize` names."""
    with _one_sentence():  # here, not only outside: Hydra prints its own lines about whatever leaves a job
        job = HydraConfig.get()
        sweep = job.mode == RunMode.MULTIRUN
        with nothing_left(job.runtime.output_dir):
            check_launch(config.trainer, config.resume is not None, sweep, job.overrides.hydra)
            return optimized(train(config), config.optimize)


@contextlib.contextmanager
def _one_sentence() -> Iterator[None]:
    """Turn what the user can mend into one line and exit code 2; anything else passes through as it is."""
    try:
        yield
    except KeyboardInterrupt as stop:
        warn(str(stop) or "interrupted")
        raise SystemExit(128 + signal.SIGINT) from None
    except Exception as error:
        if not refused(error, explain):
            raise
        raise SystemExit(2) from None


if __name__ == "__main__":
    sys.exit(main())
