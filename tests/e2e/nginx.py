# SPDX-License-Identifier: GPL-2.0-or-later
"""nginx in a pod, for the tests."""
import os

CONFIGURATION = """
daemon off; user root; worker_processes {workers}; pid {folder}/pid; error_log stderr;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {servers}
}}
"""


def tls_server(keys, port, *lines):
    """A server{} block with the certificate tls.crt of that folder; `lines`: its other settings."""
    return (f"server {{ listen {port}; ssl_certificate {keys}/tls.crt; ssl_certificate_key {keys}/tls.key; "
            f"default_type text/plain; {' '.join(lines)} }}\n")


def start_nginx(cluster, pod, name, servers, port, workers=2):
    """`servers`: server{} blocks; waits until `port` of the last one is open."""
    folder = os.path.join(cluster.folder, name)
    os.makedirs(folder)
    with open(f"{folder}/nginx.conf", "w", encoding="ascii") as file:
        file.write(CONFIGURATION.format(folder=folder, servers=servers, workers=workers))
    cluster.spawn(pod, ["nginx", "-p", folder, "-e", "stderr", "-c", f"{folder}/nginx.conf"], log=f"{name}.log")
    cluster.wait_port(pod, port)
