"""Work in processes of this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pictor.data.crew import Crew, Part, R, Terms, Work


def results(work: Work[R], jobs: Iterable[Part], terms: Terms) -> Iterator[tuple[Part, R]]:
    """See `Crew.results`."""
    return Crew(work, terms).results(jobs)
