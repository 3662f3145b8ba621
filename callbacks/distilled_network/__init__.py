"""Parts of the distillation of a LightningModule: its rows, and what its equations are worth beside it."""
