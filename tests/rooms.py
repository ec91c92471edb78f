"""Looking at a folder that a test worked in."""


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
