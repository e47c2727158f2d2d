"""The error for everything that the user can fix."""

from collections.abc import Sequence


class InputError(ValueError):
    """Data or settings that cannot be used. The message says what is wrong, what was expected and what to do.

    Functions raise it wherever a user has to act. The command line shows only the message, without a stack trace.

    Attributes:
        problems: The single problems of a report by `from_problems`, else empty.
    """

    problems: Sequence[str] = ()

    @classmethod
    def from_problems(cls, title: str, problems: Sequence[str], remedy: str, count: int | None = None) -> "InputError":
        """Report all problems of one input together. Pass their `count` if `problems` lists only the first ones."""
        count = len(problems) if count is None else count
        lines = [f"{title}: {count} problem{'s' if count > 1 else ''}"]
        lines += [f"  - {problem}" for problem in problems]
        lines.append(remedy)
        error = cls("\n".join(lines))
        error.problems = problems
        return error


def first_line(error: object) -> str:
    """Return at most 200 characters of the first line of a message, without a final period, to quote it in another."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
