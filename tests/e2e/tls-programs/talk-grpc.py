# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: talk-grpc.py server CERTIFICATE KEY PORT | client CA HOST PORT WORD. One method, whose message is a Protobuf string:
the answer is the word with "you asked for " in front."""
import concurrent.futures
import sys

import grpc

METHOD = "/remora.Talk/Say"


def encode(text):
    return b"\x0a" + bytes([len(text)]) + text.encode()


def decode(message):
    return message[2:].decode()


class Talk(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method != METHOD:
            return None
        return grpc.unary_unary_rpc_method_handler(lambda word, _: f"you asked for {word}", decode, encode)


def content(path):
    with open(path, "rb") as file:
        return file.read()


def server(certificate, key, port):
    talk = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[Talk()])
    talk.add_secure_port(f"0.0.0.0:{port}", grpc.ssl_server_credentials([(content(key), content(certificate))]))
    talk.start()
    talk.wait_for_termination()


def client(ca, host, port, word):
    with grpc.secure_channel(f"{host}:{port}", grpc.ssl_channel_credentials(content(ca))) as channel:
        print(channel.unary_unary(METHOD, encode, decode)(word, timeout=20))


{"server": server, "client": client}[sys.argv[1]](*sys.argv[2:])
