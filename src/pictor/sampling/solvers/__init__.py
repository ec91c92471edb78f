"""One file per solver. A file here that uses `@register` is found by `pictor.sampling.all_solvers()`."""
