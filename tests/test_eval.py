"""What eval.py refuses: flags that would change nothing, and what cannot be done."""

import pytest

from tests.test_commands import command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "there"), "--data belongs to --suite (the run's own data is --data_directory)"),
        (("--leave_out", "fog", "--stored", "jpeg85"), "--leave_out, --stored belongs to --suite"),
        (("--checkpoint", "last"), "--checkpoint belongs to --suite, --report lipschitz and --report weights"),
        (("--suite", "corruptions", "--report", "weights"), "--report belongs to --workdir without --suite"),
        (("--suite", "corruptions", "--out", "there"), "--out belongs to --compare"),
        (("--suite", "cifar10_c", "--data", "there", "--seed", "5"), "--seed belongs to --suite corruptions, whose"),
        (("--report", "oscillation", "--data_directory", "there"), "--data_directory belongs to reports other than"),
    ],
)
def test_flags_without_effect_are_refused(tmp_path, arguments, message):
    status, output, errors = command("eval.py", "--workdir", tmp_path, *arguments)
    assert status == 1
    assert message in output + errors
    assert "Traceback" not in output + errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "a", "b"], "--compare takes folders of runs and a --suite"),
        (["--suite", "corruptions"], "--workdir is needed"),
        (["--workdir", "a", "--suite", "cifar10_c"], "eval.py: --suite cifar10_c needs the folder of its images"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, message):
    status, output, errors = command("eval.py", *arguments)
    assert status == 1
    assert message in output + errors
    assert "Traceback" not in errors
