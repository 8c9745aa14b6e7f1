"""A file on a server as a ByteSource, so that a header is read without the file behind it."""

from __future__ import annotations

from localllm.errors import HubError
from localllm.hub.http import PassingError, Patience
from localllm.hub.remote_file import ChangedError, RangesIgnoredError, RemoteFile


class RemoteSource:
    """Random access to a file on a server; every read is one request."""

    def __init__(self, remote: RemoteFile, label: str) -> None:
        self._remote = remote
        self.size_bytes = remote.size_bytes
        self.label = label

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer only at the end. Raise HubError, OfflineError."""
        end = min(offset + length, self.size_bytes)
        patience, data = Patience(), bytearray()
        while offset + len(data) < end:
            try:
                self._read_on(data, offset, end)
            except PassingError as failure:
                patience.wait(failure)
            except RangesIgnoredError:
                raise HubError(
                    f"the server of {self.label} does not give parts of files",
                    hint="download the whole file with `localllm pull`",
                ) from None
            except ChangedError as change:
                raise HubError(f"{self.label} is not what was listed: {change}") from None
        return bytes(data)

    def _read_on(self, data: bytearray, offset: int, end: int) -> None:
        missing = end - offset - len(data)
        with self._remote.read(offset + len(data), end) as body:
            for chunk in body:
                data += chunk[:missing]
                missing -= len(chunk)
                if missing <= 0:
                    return
        raise PassingError(HubError(f"{self.label} breaks off"))
