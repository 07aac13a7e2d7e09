"""Downloading with pooch: checked by SHA256, resumed where the server can, retried, never left half done.

A file grows as `<name>.part` beside its final place, so that a later call can go on from there. Pooch checks
the whole and only then moves it to its final name.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError, DataError

CHUNK = 1 << 16
TIMEOUT = (10, 60)  # seconds to connect, and without a byte
RETRY_STATUS = (408, 416, 425, 429)


def fetch(
    bases: Sequence[str],
    name: str,
    folder: Path,
    sha256: str | None,
    *,
    remote: str | None = None,
    tries: int = 4,
    wait: float = 1.0,
) -> Path:
    """Bring `<base>/<name>` into `folder`, trying each base in turn; returns its path.

    remote : what the file is called there, if not `name`.  sha256 : None if it is not known.

    A transfer is tried `tries` times, `wait` seconds apart and doubling. DataError if no base gives the file
    with this SHA256; nothing then lies under its final name.
    """
    for base in bases:
        if not base.startswith(("http://", "https://")):
            raise ConfigError(f"mirror '{base}' is no http:// or https:// address; give the address of a folder")
    failures = []
    for base in bases:
        url = f"{base.rstrip('/')}/{remote or name}"
        try:
            return _fetch_one(url, name, folder, sha256, tries, wait)
        except DataError as error:
            failures.append(str(error))
    raise DataError(
        f"{name} could not be downloaded: {'; '.join(failures)}; check the network, give mirror=, or put the"
        f" file into {folder}"
    )


def _fetch_one(url: str, name: str, folder: Path, sha256: str | None, tries: int, wait: float) -> Path:
    import pooch
    import requests

    part = folder / f"{name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if sha256 is None:  # nothing for pooch to check
            if not (folder / name).exists():
                _Resuming(part, tries, wait)(url, str(folder / name), None)
            return folder / name
        for fresh in (False, True):
            resumed = part.exists()
            try:
                got = pooch.retrieve(
                    url, f"sha256:{sha256}", fname=name, path=folder, downloader=_Resuming(part, tries, wait)
                )
                return Path(got)
            except ValueError:
                # Pooch's word for a wrong checksum. What an earlier call left may have been another file's
                # beginning: then one fresh start is worth it.
                part.unlink(missing_ok=True)
                if fresh or not resumed:
                    raise DataError(f"{url} sent a file with the wrong checksum") from None
    except requests.HTTPError as error:
        answer = error.response
        raise DataError(
            f"{url} answered {answer.status_code} {answer.reason}" if answer is not None else f"{url}: {error}"
        ) from None
    except requests.RequestException as error:
        raise DataError(f"{url}: {_short(error)}") from None
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error.strerror or error})") from None
    raise AssertionError("unreachable")


class _Resuming:
    """A pooch downloader that appends to `part` and hands it over when it is whole."""

    def __init__(self, part: Path, tries: int, wait: float) -> None:
        self.part, self.tries, self.wait = part, tries, wait

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:
        import requests

        for left in reversed(range(self.tries)):
            try:
                self._transfer(url)
                break
            except requests.RequestException as error:
                status = error.response.status_code if error.response is not None else 500
                if left == 0 or (status < 500 and status not in RETRY_STATUS):
                    raise
                time.sleep(self.wait * 2 ** (self.tries - 1 - left))
        os.replace(self.part, output_file)

    def _transfer(self, url: str) -> None:
        import requests
        from tqdm import tqdm

        have = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # nothing comes after `have`: it may be complete
                if response.headers.get("Content-Range", "").endswith(f"/{have}"):
                    return
                self.part.unlink(missing_ok=True)
            response.raise_for_status()
            goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            append = response.status_code == 206 and goes_on
            if response.status_code == 206 and not append:
                self.part.unlink(missing_ok=True)
                raise requests.ConnectionError("the server resumed at another place than asked")
            length = int(response.headers.get("Content-Length", 0) or 0)
            bar = tqdm(
                total=length or None,
                desc=self.part.stem,
                unit="B",
                unit_scale=True,
                leave=False,
                disable=None,  # shown on a terminal only
            )
            got = 0
            with open(self.part, "ab" if append else "wb") as file, bar:
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    got += len(chunk)
                    bar.update(len(chunk))
            if length and got < length:
                raise requests.ConnectionError(f"the connection broke off after {got} of {length} bytes")


def _short(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.ConnectionError) and "Max retries" in str(error):
        return "no connection"
    return " ".join(str(error).split())[:200] or type(error).__name__
