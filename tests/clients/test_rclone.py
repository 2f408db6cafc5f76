"""rclone with the settings that it has by default; provider Other is its word for "not AWS"."""

import filecmp
import os

import pytest


@pytest.fixture
def rclone(gateway, tool, run):
    """Returns a function that runs rclone; the gateway is its remote `hub:`."""
    command = tool("rclone")
    environment = gateway.aws_environment(
        RCLONE_CONFIG=os.devnull,
        RCLONE_CONFIG_HUB_TYPE="s3",
        RCLONE_CONFIG_HUB_PROVIDER="Other",
        RCLONE_CONFIG_HUB_ENDPOINT=gateway.s3,
        RCLONE_CONFIG_HUB_ACCESS_KEY_ID=gateway.access_key,
        RCLONE_CONFIG_HUB_SECRET_ACCESS_KEY=gateway.secret_key,
    )
    return lambda *arguments: run(command, *arguments, env=environment)


@pytest.fixture
def tree(tmp_path):
    """A directory with small, empty, large, and oddly named files."""
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "large").write_bytes(os.urandom(12_000_000))
    (root / "empty").write_bytes(b"")
    (root / "sub" / "a b+c%20#.txt").write_text("hello")
    (root / "sub" / "ünï").write_bytes(os.urandom(70_000))
    return root


def is_same(left, right):
    compared = filecmp.dircmp(left, right)
    if compared.left_only or compared.right_only:
        return False
    _, different, odd = filecmp.cmpfiles(left, right, compared.common_files, shallow=False)
    return not different and not odd and all(is_same(left / name, right / name) for name in compared.common_dirs)


def test_sync_transfers_everything_once_and_then_nothing(rclone, bucket, tree, tmp_path):
    rclone("sync", tree, f"hub:{bucket}/tree")
    listed = rclone("lsl", f"hub:{bucket}/tree")
    # rclone compares modification times to the nanosecond: what it would copy again, it names.
    again = rclone("sync", "--dry-run", "--combined", "-", tree, f"hub:{bucket}/tree")
    assert {line[0] for line in again.splitlines()} == {"="}, again + listed
    rclone("check", "--download", tree, f"hub:{bucket}/tree")
    rclone("copy", f"hub:{bucket}/tree", tmp_path / "back")
    assert is_same(tree, tmp_path / "back")


def test_files_move_and_trees_vanish(rclone, bucket, tree):
    rclone("copy", tree, f"hub:{bucket}/tree")
    rclone("moveto", f"hub:{bucket}/tree/large", f"hub:{bucket}/moved")
    names = rclone("lsf", "--recursive", "--files-only", f"hub:{bucket}")
    assert sorted(names.splitlines()) == ["moved", "tree/empty", "tree/sub/a b+c%20#.txt", "tree/sub/ünï"]
    rclone("purge", f"hub:{bucket}/tree")
    assert rclone("lsf", "--recursive", "--files-only", f"hub:{bucket}").splitlines() == ["moved"]
