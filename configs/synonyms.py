"""Words of other tools for our keys, so that a command line from elsewhere is told what to type here."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ours"]

SYNONYMS: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("lr", "eta", "alpha", "step_size", "learningrate", "lr_rate"): ("model.learning_rate",),
    ("wd", "l2", "decay"): ("model.weight_decay",),
    ("warmup",): ("model.warmup_steps",),
    ("epochs", "n_epochs", "num_epochs", "max_epoch", "epoch", "max_iter", "n_iter"): ("trainer.max_epochs",),
    ("steps", "max_step", "iterations"): ("trainer.max_steps",),
    ("time", "time_limit", "max_runtime"): ("trainer.max_time",),
    ("timeout", "budget", "timeout_in_seconds", "time_budget"): ("search.seconds",),
    ("gpus", "num_gpus", "n_gpus", "devices", "num_devices", "nproc_per_node"): ("trainer.devices",),
    ("device", "cuda", "gpu", "use_cuda", "accelerator"): ("trainer.accelerator",),
    ("nodes", "nnodes", "n_nodes"): ("trainer.num_nodes",),
    ("fp16", "amp", "bf16", "mixed_precision", "half"): ("trainer.precision",),
    ("grad_clip", "clip", "gradient_clip", "max_norm", "clip_grad"): ("trainer.gradient_clip_val",),
    ("random_state", "random_seed", "rng", "manual_seed"): ("seed",),
    ("jobs", "n_jobs", "procs", "processes", "cores", "num_processes"): ("search.workers", "threads"),
    ("batch", "bs", "batchsize", "minibatch"): ("data.batch_size",),
    ("dataset", "file", "csv", "table", "filename", "input", "data_path"): ("data.path",),
    ("label", "y", "response", "output_column", "target_column", "y_col"): ("data.target",),
    ("inputs", "columns", "x", "feature_names", "variables", "variable_names"): ("data.features",),
    ("test_size", "test_split", "holdout"): ("data.test_fraction",),
    ("val_size", "validation_size", "val_split", "validation_split"): ("data.validation_fraction",),
    ("latent_dim", "z_dim", "bottleneck", "n_latents", "latent_size", "embedding_dim"): ("model.latents",),
    ("hidden_size", "hidden_dim", "layers", "hidden_layers", "n_hidden"): ("model.hidden", "model.layers"),
    ("d_model", "hidden_units"): ("model.width",),
    ("n_heads", "num_heads", "nhead"): ("model.heads",),
    ("pretrained", "weights", "init_from", "from_pretrained"): ("model.init",),
    ("pop_size", "population_size", "npop", "n_individuals"): ("search.population",),
    ("niterations", "ngen", "n_gen", "max_generations", "num_generations"): ("search.generations",),
    ("populations", "npopulations", "n_islands"): ("search.islands",),
    ("binary_operators", "unary_operators", "function_set", "primitives"): ("search.operators",),
    ("maxsize", "max_size", "max_len", "maxlen"): ("search.max_length",),
    ("maxdepth", "max_depth", "depth"): ("search.max_height",),
    ("evals", "max_evals", "max_evaluations"): ("search.evaluations",),
    ("beam", "beam_size", "num_beams", "beam_width"): ("search.beams",),
    ("benchmark", "equation", "formula"): ("data.problem",),
    ("checkpoint_path", "ckpt", "load", "load_from", "from_checkpoint"): ("ckpt_path",),
    ("resume_from", "resume_from_checkpoint", "restore", "continue"): ("resume",),
    ("metric", "monitor", "early_stopping"): ("checkpoint.monitor",),
    ("objective", "maximize", "minimize"): ("optimize",),
    ("out", "output", "output_dir", "out_dir", "run_dir", "log_dir", "logdir", "save_dir"): ("hydra.run.dir",),
    ("wandb", "log", "logging", "tracker"): ("logger",),
    ("wandb_project", "project_name"): ("logger.project",),
    ("config", "preset", "recipe"): ("experiment",),
    ("system", "method", "algorithm", "net", "network_type"): ("model",),
    ("optimizer", "searcher", "regressor"): ("search",),
}
"""Words, in small letters with underscores -> our keys. A key of our own of the same name goes before these."""

_KEYS = {word: keys for words, keys in SYNONYMS.items() for word in words}


def ours(word: str) -> tuple[str, ...]:
    """Our keys for a word of another tool, with or without the group before it; none where it is unknown."""
    name = word.rpartition(".")[2].lower().replace("-", "_")
    keys = _KEYS.get(name, ())
    group = word.partition(".")[0]
    same = tuple(key for key in keys if key.partition(".")[0] == group)
    return same or keys
