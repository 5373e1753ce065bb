// oauth2-mock-server with a person in it: run by script/sign-in, which names the port's file and reads the issuer from its first
// line. `POST /claims` changes what the next tokens say of the person. Nothing of this ships.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const modules = process.argv[2];
const entry = createRequire(`${modules}/`).resolve("oauth2-mock-server");
const { OAuth2Server } = await import(pathToFileURL(entry).href);

let claims = {};
const server = new OAuth2Server();
await server.issuer.keys.generate("RS256");
server.service.on("beforeTokenSigning", (token) => Object.assign(token.payload, claims));
await server.start(0, "127.0.0.1");

const control = createServer((request, response) => {
  let body = "";
  request.on("data", (part) => (body += part));
  request.on("end", () => {
    claims = JSON.parse(body);
    response.end("{}");
  });
});
control.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ issuer: server.issuer.url, claims: `http://127.0.0.1:${control.address().port}/claims` }));
});
