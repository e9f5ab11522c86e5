"""How is RabbitMQ's management API asked: which node, which certificate, and what does a bad answer mean?

What the caller says is all there is: no proxy, no `.netrc` and no CA bundle from the environment.
"""

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any

import requests
from requests.auth import HTTPBasicAuth

from provisioning import errors

CONNECT_TIMEOUT_SECONDS = 5.0
TIMEOUT_SECONDS = 60.0
EXPIRED = "renew it; `openssl s_client -connect HOST:PORT | openssl x509 -noout -dates` shows since when"
UNKNOWN_AUTHORITY = "name the CA that signed it (`ca`), and use a host name that it bears"
CLIENT_CERTIFICATE = "give a client certificate that the server trusts (`cert`, `key`)"
BASE_URL = "give the base URL of the management plugin, such as http://127.0.0.1:15672"
RUNNING = "is RabbitMQ running there, with `rabbitmq-plugins enable rabbitmq_management`?"
#: what a load balancer says when the node behind it is gone, and a node that is starting
NODE_IS_AWAY = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """What this client shows to a server that asks for a certificate."""

    #: path of the certificate, in PEM
    certificate: str
    #: path of its key, without a passphrase; None where it is in the same file
    key: str | None = None


class _NodeAway(errors.Unreachable):
    """This node does not answer, another one may."""


class HttpApi:
    """The management API of one broker, at one or more of its nodes.

    Every request that is made here can be made twice, so the next node is tried when one is away. The node
    that answered last is asked first.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        user: str,
        password: str,
        ca: str | None = None,
        certificate: ClientCertificate | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self.urls = tuple(url.rstrip("/") for url in urls)
        self._current = 0
        self._user = user
        self._timeout = (CONNECT_TIMEOUT_SECONDS, timeout_seconds)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = HTTPBasicAuth(user.encode(), password.encode())
        self._session.verify = ca or True
        if certificate:
            both = (certificate.certificate, certificate.key) if certificate.key else certificate.certificate
            self._session.cert = both

    def request(self, method: str, path: str, *, missing_ok: bool = False, **body: Any) -> Any:
        """Return the decoded answer; None when there is none, or nothing there and ``missing_ok``.

        Raises Unreachable, AccessRefused or ChangeRefused.
        """
        away: list[_NodeAway] = []
        for position in self._in_turn():
            try:
                answer = self._ask(self.urls[position], method, path, missing_ok=missing_ok, body=body)
            except _NodeAway as error:
                away.append(error)
            else:
                self._current = position
                return answer
        raise _unreachable(away)

    @property
    def url(self) -> str:
        """The URL of the node that answered last."""
        return self.urls[self._current]

    def not_the_api(self, reason: str) -> errors.ProvisioningError:
        """Return the error for a service that is something else."""
        return _not_the_api(self.url, reason)

    def _in_turn(self) -> Iterator[int]:
        for step in range(len(self.urls)):
            yield (self._current + step) % len(self.urls)

    def _ask(self, url: str, method: str, path: str, *, missing_ok: bool, body: dict[str, Any]) -> Any:
        try:
            response = self._session.request(
                method, f"{url}/api/{path}", timeout=self._timeout, allow_redirects=False, **body
            )
            if response.status_code == 404 and missing_ok:
                return None
            if not response.ok or response.is_redirect:
                raise self._refused(url, response)
            return response.json() if response.content else None
        except requests.exceptions.JSONDecodeError as error:
            raise _not_the_api(url, "it does not answer in JSON") from error
        except (requests.exceptions.RequestException, OSError) as error:
            # OSError: a file with certificates is not there.
            raise _failed(url, error) from error

    def _refused(self, url: str, response: requests.Response) -> errors.ProvisioningError:
        reason = _reason(response)
        what = f"{response.request.method} {response.request.path_url}"
        if response.is_redirect:
            return _not_the_api(url, f"it sends us on to {response.headers['Location']}")
        if response.status_code in (401, 403):
            return errors.AccessRefused(
                f"{url} refuses user `{self._user}` ({what}): {reason}",
                hint="the provisioner needs its right password, the tag `administrator` and, to delete,"
                " a permission in the vhost",
            )
        if response.status_code == 404 and response.request.method == "GET":
            return _not_the_api(url, reason)
        if response.status_code >= 500:
            kind = _NodeAway if response.status_code in NODE_IS_AWAY else errors.Unreachable
            return kind(f"{url} failed ({what}): {reason}", hint="see the broker's log")
        return errors.ChangeRefused(f"{url} refuses a change ({what}): {reason}")


def _failed(url: str, error: Exception) -> errors.Unreachable:
    """Return what a failed connection means; bad certificates are never passed by for another node's."""
    root = _root(error)
    reason = getattr(root, "strerror", None) or str(root)
    if isinstance(root, ssl.SSLCertVerificationError):
        return errors.Unreachable(
            f"the certificate of {url} is not trusted: {root.verify_message}",
            hint=EXPIRED if "expired" in root.verify_message else UNKNOWN_AUTHORITY,
        )
    if isinstance(error, ValueError):
        return errors.Unreachable(f"`{url}` is no URL of a management API: {reason}", hint=BASE_URL)
    if not isinstance(error, requests.exceptions.RequestException):
        return errors.Unreachable(
            f"cannot ask {url}: {reason}", hint="see the files of `ca`, `cert` and `key`"
        )
    # OpenSSL's name for what the other side has against us; it may come wrapped in a plain OSError.
    is_alert = "_ALERT_" in str(root)
    return _NodeAway(
        f"no management API answers at {url}: {reason}", hint=CLIENT_CERTIFICATE if is_alert else RUNNING
    )


def _unreachable(away: Sequence[_NodeAway]) -> errors.Unreachable:
    told = "; ".join(error.message for error in away)
    return errors.Unreachable(told, hint=away[0].hint)


def _not_the_api(url: str, reason: str) -> errors.ProvisioningError:
    return errors.ChangeRefused(
        f"{url} answers, but not as RabbitMQ's management API: {reason}",
        hint=BASE_URL,
    )


def _reason(response: requests.Response) -> str:
    """Return the broker's own reason: sometimes HTML, sometimes an Erlang term with text as characters."""
    try:
        reason = response.json()["reason"]
    except (requests.exceptions.JSONDecodeError, KeyError, TypeError):
        return f"{response.status_code} {response.reason}"
    return " ".join(unescape(_term_text(reason)).split())


def _term_text(term: object) -> str:
    if not isinstance(term, list):
        return str(term)
    if term and all(isinstance(item, int) for item in term):
        return "".join(map(chr, term))
    return " ".join(_term_text(item) for item in term)


def _root(error: BaseException) -> BaseException:
    """Return the innermost of a chain of wrapped connection errors."""
    inner = error.__cause__ or error.__context__
    return _root(inner) if inner else error
