"""A disk that fills under a mining run: an error that says what to do, whole records, and the same command goes on."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SCRIPT = """
import resource, signal, sys
sys.path.insert(0, "tests/support")
from pathlib import Path
import mining
from valor_ray.errors import StorageError
from valor_ray.grounding.mine.run import mine
from valor_ray.runs.record_file import read_records

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
queries, config = mining.pictures(folder, 12), mining.config()
done = 0
for limit in (4_000, 6_000, 9_000, 12_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
    try:
        mine(folder / "run", config, queries, mining.Host(config))
    except StorageError as error:
        assert "Free some space" in str(error) or "run the same command again" in str(error), error
    else:
        raise AssertionError(limit)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000_000, -1))
host = mining.Host(config)
report = mine(folder / "run", config, queries, host)
images = [record["image"] for record in read_records(folder / "run/images.jsonl")]
assert len(images) == len(set(images)) == 12, images
print(report["images"], 0 < len(host.detector.asked) < 12)
"""


def test_what_is_written_stays_and_the_rest_follows(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, timeout=100
    )
    assert done.stdout == "12 True\n", done.stderr
