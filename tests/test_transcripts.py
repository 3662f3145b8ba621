"""Transcripts in the documents are what the command prints."""

from pathlib import Path

import numpy as np
import pandas as pd

from reports.transcripts import with_transcripts

ROOT = Path(__file__).resolve().parents[1]


def test_the_output_of_a_command_stands_behind_it(tmp_path: Path) -> None:
    x = np.linspace(1, 3, 20)
    pd.DataFrame({"x": x, "y": 3 * x**2}).to_csv(tmp_path / "table.csv", index=False)
    script = f"import sys; sys.path[0] = {str(ROOT)!r}; import discover; sys.exit(discover.main())"
    (tmp_path / "discover.py").write_text(script)
    command = "python discover.py table.csv y --jobs 1 --out out  # in a moment"
    other = "```bash\nls\n```\n\n```\nleft alone\n```\n"
    text = with_transcripts(f"{other}\n```bash\n{command}\n```\n\n```\nstale\n```\n\nend\n", tmp_path)
    assert text.startswith(f"{other}\n```bash\n{command}\n```\n\n```\nRead 'table.csv': 20 rows")
    assert "3*x**2" in text
    assert "stale" not in text
    assert text.endswith("Files are in out\n```\n\nend\n")
