"""The one error that is the user's to mend, and what others say."""

from collections.abc import Sequence


class InputError(ValueError):
    """Data or settings that cannot be used; its text says what was found, what was expected and what to do.

    The command line shows the text alone, without a stack trace. `problems` has the single ones of a report.
    """

    problems: Sequence[str] = ()

    @classmethod
    def from_problems(cls, title: str, problems: Sequence[str], remedy: str, count: int | None = None) -> "InputError":
        """All problems of one input in one report; `count` where only the first of them are listed."""
        count = len(problems) if count is None else count
        lines = [f"{title}: {count} problem{'s' if count > 1 else ''}"]
        lines += [f"  - {problem}" for problem in problems]
        lines.append(remedy)
        error = cls("\n".join(lines))
        error.problems = problems
        return error


def first_line(error: object) -> str:
    """What an error of a library says, as far as it fits into a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
