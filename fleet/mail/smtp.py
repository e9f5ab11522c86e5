"""Did the SMTP server take the mail? One conversation, one recipient, and the exact stage at which it ended.

Python's own ``sendmail`` cannot say whether a lost connection came before or after the message, and its
``starttls`` verifies nothing unless told to; so the conversation is led here, step by step.
"""

import base64
import contextlib
import re
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fleet.mail.address import Address
from fleet.mail.policy import Kind, MailFailure, Verdict, is_loopback, mail_failure, without_addresses
from fleet.mail.verdicts import Fault, Reply, Stage, fault_verdict, smtp_verdict
from fleet.model import Smtp
from fleet.secrets import Secret

#: what is worth waiting for a goodbye; the mail's fate is known by then
_QUIT_SECONDS = 2.0
_LINE_START_DOT = re.compile(rb"^\.", re.MULTILINE)
_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Who sends what to whom."""

    sender: Address
    to: Address
    #: the message as ``compose`` returns it
    content: bytes


class _Refused(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class _Failed(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


def submit(smtp: Smtp, envelope: Envelope, *, password: Secret | None) -> str:
    """Hand the mail to the server and return its answer, without addresses.

    Raises MailFailure with what is known about the mail's fate.
    """
    conversation = _Conversation(smtp, password, to=envelope.to)
    with _verdicts(conversation), conversation.opened() as client:
        return conversation.deliver(client, envelope)


def check_login(smtp: Smtp, *, password: Secret | None) -> None:
    """Connect, start TLS and log in as for a mail, and leave without sending one.

    Raises MailFailure with what went wrong.
    """
    conversation = _Conversation(smtp, password, to=None)
    with _verdicts(conversation), conversation.opened():
        pass


class _Conversation:
    """One conversation; ``stage`` is how far it came."""

    def __init__(self, smtp: Smtp, password: Secret | None, *, to: Address | None) -> None:
        self.server = f"{smtp.host}:{smtp.port}"
        self.stage = Stage.CONNECT
        self._smtp = smtp
        self._password = password
        self._to = to
        # Before anything is sent: a CA file that cannot be read must not look like an unreachable server.
        self._context = _tls_context(smtp, self.server)

    @contextmanager
    def opened(self) -> Iterator[smtplib.SMTP]:
        """Yield a client that is connected, encrypted and logged in."""
        client = self._connect()
        try:
            self._greet(client)
            if self._smtp.security not in ("tls", "none"):
                self._start_tls(client)
            if self._smtp.user is not None:
                self._log_in(client, self._smtp.user, self._password)
            yield client
            _say_goodbye(client)
        except _Refused:
            _say_goodbye(client)
            raise
        finally:
            client.close()

    def deliver(self, client: smtplib.SMTP, envelope: Envelope) -> str:
        """Send the message and return the answer that accepted it."""
        utf8 = not (envelope.sender.is_ascii and envelope.to.is_ascii)
        content = _wire(envelope.content)
        self.stage = Stage.SENDER
        if utf8 and not client.has_extn("smtputf8"):
            raise _Failed(Fault.NO_SMTPUTF8)
        if utf8:
            client.command_encoding = "utf-8"
        size = f" SIZE={len(content)}" if client.has_extn("size") else ""
        extension = " SMTPUTF8 BODY=8BITMIME" if utf8 else ""
        self._expect(client.docmd(f"MAIL FROM:<{envelope.sender.addr_spec}>{size}{extension}"), 250)
        self.stage = Stage.RECIPIENT
        self._expect(client.docmd(f"RCPT TO:<{envelope.to.addr_spec}>"), 250, 251)
        self.stage = Stage.DATA
        self._expect(client.docmd("DATA"), 354)
        self.stage = Stage.BODY
        # When this fails, the end of the message has not left: the server cannot accept it.
        client.send(content)
        self.stage = Stage.ANSWER
        return self._expect(client.getreply(), *range(200, 300)).text

    def _connect(self) -> smtplib.SMTP:
        smtp = self._smtp
        try:
            if smtp.security == "tls":
                return smtplib.SMTP_SSL(
                    smtp.host, smtp.port, timeout=smtp.timeout_seconds, context=self._context
                )
            return smtplib.SMTP(smtp.host, smtp.port, timeout=smtp.timeout_seconds)
        except smtplib.SMTPConnectError as error:
            raise _Refused(self._reply(error.smtp_code, error.smtp_error)) from None

    def _greet(self, client: smtplib.SMTP) -> None:
        self.stage = Stage.HELLO
        code, words = client.ehlo()
        if code // 100 == 5:
            code, words = client.helo()
        self._expect((code, words), 250)

    def _start_tls(self, client: smtplib.SMTP) -> None:
        self.stage = Stage.TLS
        if not client.has_extn("starttls"):
            raise _Failed(Fault.NO_STARTTLS)
        try:
            client.starttls(context=self._context)
        except smtplib.SMTPResponseException as error:
            raise _Refused(self._reply(error.smtp_code, error.smtp_error)) from None
        # What the server said before TLS could have been anybody's words.
        self._greet(client)

    def _log_in(self, client: smtplib.SMTP, user: str, password: Secret | None) -> None:
        self.stage = Stage.LOGIN
        secret = password.reveal() if password else ""
        offered = str(client.esmtp_features.get("auth", "")).upper().split()
        # One try: Python's ``login`` goes on with further mechanisms after a refusal, which locks accounts.
        if "PLAIN" in offered:
            self._expect(client.docmd("AUTH", "PLAIN " + _base64(f"\0{user}\0{secret}")), 235)
        elif "LOGIN" in offered:
            self._expect(client.docmd("AUTH", "LOGIN"), 334)
            self._expect(client.docmd(_base64(user)), 334)
            self._expect(client.docmd(_base64(secret)), 235)
        else:
            raise _Failed(Fault.NO_AUTH)

    def _expect(self, answer: tuple[int, bytes], *welcome: int) -> Reply:
        reply = self._reply(*answer)
        if reply.code not in welcome:
            raise _Refused(reply)
        return reply

    def _reply(self, code: int, words: bytes | str) -> Reply:
        text = words.decode("utf-8", errors="replace") if isinstance(words, bytes) else words
        return Reply(code=code, text=without_addresses(text, self._to))


@contextmanager
def _verdicts(conversation: _Conversation) -> Iterator[None]:
    """Turn whatever ends the conversation into a MailFailure."""
    server = conversation.server
    try:
        yield
    except _Refused as refused:
        raise mail_failure(smtp_verdict(server, conversation.stage, refused.reply)) from None
    except _Failed as failed:
        raise mail_failure(fault_verdict(server, conversation.stage, failed.fault)) from None
    except (OSError, smtplib.SMTPException) as error:
        verdict = fault_verdict(server, conversation.stage, _fault(error), detail=_detail(error))
        # From None: the text of an answer that could not be read may hold an address.
        raise mail_failure(verdict) from None


def _fault(error: BaseException) -> Fault:
    # SSL errors and timeouts are OSErrors, so the order matters.
    if isinstance(error, ssl.SSLCertVerificationError):
        return Fault.CERTIFICATE
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Fault.DISCONNECTED
    if isinstance(error, ssl.SSLError):
        return Fault.TLS
    if isinstance(error, socket.gaierror):
        return Fault.NO_SUCH_NAME if error.errno == socket.EAI_NONAME else Fault.NAME_UNRESOLVED
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return Fault.TIMED_OUT if isinstance(error.__context__, TimeoutError) else Fault.DISCONNECTED
    if isinstance(error, TimeoutError):
        return Fault.TIMED_OUT
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return Fault.DISCONNECTED
    return Fault.GARBLED if isinstance(error, smtplib.SMTPException) else Fault.UNREACHABLE


def _detail(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or ""
    return (error.strerror or "") if isinstance(error, OSError) else ""


def _tls_context(smtp: Smtp, server: str) -> ssl.SSLContext | None:
    if smtp.security == "none":
        if not is_loopback(smtp.host):
            raise _wrong_settings(f"{server}: without TLS a mail goes to this host only, over loopback")
        return None
    try:
        return ssl.create_default_context(cafile=smtp.ca)
    except OSError as error:
        reason = error.strerror or "no certificate in it"
        raise _wrong_settings(f"{server}: the CA file `{smtp.ca}` cannot be used: {reason}") from error


def _wrong_settings(reason: str) -> MailFailure:
    hint = "see `security` and `ca` of [mail.smtp] in the fleet file"
    return mail_failure(Verdict(kind=Kind.CONFIGURATION, reason=reason, hint=hint))


def _say_goodbye(client: smtplib.SMTP) -> None:
    with contextlib.suppress(OSError, smtplib.SMTPException):
        if client.sock is not None:
            client.sock.settimeout(_QUIT_SECONDS)
        client.quit()


def _wire(content: bytes) -> bytes:
    """Return ``content`` with SMTP's line ends and dots, and its end mark."""
    lines = _LINE_END.sub(b"\r\n", content).removesuffix(b"\r\n")
    return _LINE_START_DOT.sub(b"..", lines) + b"\r\n.\r\n"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
