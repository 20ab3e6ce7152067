"""How many processors control groups grant, read from folders laid out as the kernel lays them out."""

import pytest

from daseCV_c._runtime import quota as _quota

UNIFIED = "31 23 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
NAMED = ("30 23 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
         "31 23 0:27 {top} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
         "32 23 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n")


@pytest.fixture
def granted(tmp_path):
    """`granted(groups, mounts, files)`: what is granted where /proc says so and the files hold so."""
    def ask(groups, mounts, files):
        for name, text in {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return _quota.granted(str(tmp_path))
    return ask


@pytest.mark.parametrize(("text", "expected"), [
    ("200000 100000\n", 2), ("150000 100000\n", 2), ("10000 100000\n", 1), ("max 100000\n", None),
    ("", None), ("1 0\n", None), ("many 100000\n", None), ("1600000 50000\n", 32),
])
def test_version_2(granted, text, expected):
    assert granted("0::/app\n", UNIFIED, {"sys/fs/cgroup/app/cpu.max": text}) == expected


def test_groups_around_it_limit_it_too(granted):
    files = {"sys/fs/cgroup/a/cpu.max": "300000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
             "sys/fs/cgroup/a/b/c/cpu.max": "900000 100000\n", "sys/fs/cgroup/other/cpu.max": "100000 100000\n"}
    assert granted("0::/a/b/c\n", UNIFIED, files) == 3


def test_a_container_sees_its_own_group_at_the_top(granted):
    assert granted("0::/\n", UNIFIED, {"sys/fs/cgroup/cpu.max": "400000 100000\n"}) == 4


@pytest.mark.parametrize(("quota", "expected"), [("250000\n", 3), ("-1\n", None)])
@pytest.mark.parametrize(("top", "path", "folder"), [
    ("/", "/docker/f00", "/docker/f00"), ("/docker/f00", "/docker/f00", ""),
    ("/docker/f00", "/docker/f00/job", "/job"), ("/docker/f00", "/elsewhere", ""),
])
def test_version_1(granted, quota, expected, top, path, folder):
    """The mount shows a part of the tree: the group's path counts from the top of that part."""
    files = {f"sys/fs/cgroup/cpu,cpuacct{folder}/cpu.cfs_quota_us": quota,
             f"sys/fs/cgroup/cpu,cpuacct{folder}/cpu.cfs_period_us": "100000\n",
             "sys/fs/cgroup/memory/cpu.cfs_quota_us": "100\n", "sys/fs/cgroup/memory/cpu.cfs_period_us": "100\n"}
    groups = f"9:name=systemd:/\n3:cpu,cpuacct:{path}\n2:memory:/\n0::/\n"
    assert granted(groups, NAMED.format(top=top), files) == expected


def test_without_control_groups(granted, tmp_path):
    assert granted("", "", {}) is None
    assert _quota.granted(str(tmp_path / "nothing")) is None


def test_a_group_with_a_colon_in_its_name(granted):
    assert granted("0::/a:b\n", UNIFIED, {"sys/fs/cgroup/a:b/cpu.max": "300000 100000\n"}) == 3
