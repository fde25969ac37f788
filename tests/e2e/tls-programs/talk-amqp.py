# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: talk-amqp.py server CERTIFICATE KEY PORT | client CA HOST PORT WORD. AMQP 1.0 by Qpid Proton: the answer is the word
with "you asked for " in front. A message's text is its id, too: Wireshark 4.0 shows the text, but has no field of it."""
import sys

from proton import Message, SSLDomain
from proton.handlers import MessagingHandler
from proton.reactor import Container
from proton.utils import BlockingConnection


class Broker(MessagingHandler):
    def __init__(self, certificate, key, port):
        super().__init__()
        self.certificate, self.key, self.port, self.answers = certificate, key, port, None

    def on_start(self, event):
        event.container.ssl.server.set_credentials(self.certificate, self.key, None)
        event.container.listen(f"amqps://0.0.0.0:{self.port}")

    def on_link_opening(self, event):
        for ours, theirs in ((event.link.source, event.link.remote_source), (event.link.target, event.link.remote_target)):
            ours.copy(theirs)
        if event.link.is_sender:
            self.answers = event.link

    def on_message(self, event):
        answer = f"you asked for {event.message.body}"
        self.answers.send(Message(id=answer, body=answer))


def client(ca, host, port, word):
    domain = SSLDomain(SSLDomain.MODE_CLIENT)
    domain.set_trusted_ca_db(ca)
    domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
    link = BlockingConnection(f"amqps://{host}:{port}", 20, ssl_domain=domain)
    receiver = link.create_receiver("answers")
    link.create_sender("words").send(Message(id=word, body=word))
    print(receiver.receive(20).body)
    link.close()


if sys.argv[1] == "server":
    Container(Broker(*sys.argv[2:])).run()
else:
    client(*sys.argv[2:])
