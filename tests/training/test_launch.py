"""Who a process is among several."""

import pytest

from sslcli.training.launch import join_slurm

STEP = {"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_JOB_ID": "1234567"}


def test_a_task_of_srun_knows_its_rank() -> None:
    environment = {**STEP, "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7"}
    join_slurm(environment)
    told = {name: environment[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}
    expected = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "24567"}
    assert told == expected


@pytest.mark.parametrize("environment", [{}, {**STEP, "SLURM_STEP_NUM_TASKS": "1"}, {**STEP, "RANK": "0"}])
def test_anyone_else_stays_who_they_are(environment: dict[str, str]) -> None:
    before = dict(environment)
    join_slurm(environment)
    assert environment == before
