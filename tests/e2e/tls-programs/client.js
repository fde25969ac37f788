// SPDX-License-Identifier: GPL-2.0-or-later
// As client.py.
'use strict';
const fs = require('fs');
const tls = require('tls');

const [ca, host, port, version, ...paths] = process.argv.slice(2);
let session;

function ask(path) {
  return new Promise((resolve, reject) => {
    const link = tls.connect({
      ca: fs.readFileSync(ca), host, port, session, minVersion: `TLSv${version}`, maxVersion: `TLSv${version}`,
    });
    let answer = '', how;
    link.on('session', (ticket) => { session = ticket; });
    link.on('secureConnect', () => {
      how = link.isSessionReused() ? 'resumed' : 'full';
      link.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    });
    link.on('data', (bytes) => { answer += bytes; });
    link.on('error', reject);
    link.on('close', () => {
      console.log(how, answer.split('\r\n\r\n')[1].trim());
      resolve();
    });
  });
}

(async () => {
  for (const path of paths) await ask(path);
})();
