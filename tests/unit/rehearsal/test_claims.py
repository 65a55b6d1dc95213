"""Two starts never get the same world or the same loopback block."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal import claims
from rehearsal.world import World

HIGH = 240


def test_a_world_is_claimed_once_and_free_again(tmp_path: Path) -> None:
    first = claims.claim_world(tmp_path)
    assert first is not None
    assert claims.claim_world(tmp_path) is None
    first.close()
    again = claims.claim_world(tmp_path)
    assert again is not None
    again.close()


def test_the_second_claim_gets_the_next_block() -> None:
    block, held = claims.claim_block(HIGH)
    with held:
        other, also_held = claims.claim_block(HIGH)
        also_held.close()
        assert other > block
    freed, held = claims.claim_block(HIGH)
    held.close()
    assert freed == block


def test_a_block_with_a_foreign_server_is_passed_over() -> None:
    block, held = claims.claim_block(HIGH)
    held.close()
    with socket.socket() as server:
        server.bind((f"127.{block}.0.1", 9090))
        server.listen()
        assert claims.busy_ports(f"127.{block}.0.1") == [9090]
        other, also_held = claims.claim_block(HIGH)
        also_held.close()
    assert other != block


def test_no_block_left_names_the_port() -> None:
    with socket.socket() as server:
        server.bind((f"127.{claims.LAST_BLOCK}.0.1", 6443))
        server.listen()
        with pytest.raises(claims.NoBlockError, match="6443"):
            claims.claim_block(claims.LAST_BLOCK)


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys\n"
        "from rehearsal import claims\n"
        "held = claims.claim_world(pathlib.Path(sys.argv[1]))\n"
        "print('held', flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert claims.claim_world(tmp_path) is None
    finally:
        holder.kill()
        holder.communicate()
    freed = claims.claim_world(tmp_path)
    assert freed is not None
    freed.close()


def test_the_claim_to_the_block_of_a_world(tmp_path: Path) -> None:
    block, held = claims.claim_block(HIGH)
    world = World.make("claims", tmp_path, block)
    assert claims.claim_block_of(world) is None
    held.close()
    free = claims.claim_block_of(world)
    assert free is not None
    free.close()
