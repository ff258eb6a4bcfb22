// Reports an event to weavelet, as a monitoring system would:
//   node report_event.mjs NATS_URL PROTO_FILE SOURCE EVENT
// EVENT is JSON: {"kind": "device_failed", "device": "GPU-…", "host": "…", "detail": {…}}.
// Prints where the stream has it.
import { connect } from "@nats-io/transport-node";
import protobuf from "protobufjs";

const [url, proto, source, event] = process.argv.slice(2);

const schema = await protobuf.load(proto);
const Envelope = schema.lookupType("weavelet.v1.Envelope");

function value(given) {
  if (given === null) return { null: true };
  if (Array.isArray(given)) return { list: { items: given.map(value) } };
  switch (typeof given) {
    case "boolean":
      return { boolean: given };
    case "number":
      return Number.isSafeInteger(given) ? { integer: given } : { number: given };
    case "string":
      return { text: given };
    default:
      return { map: { items: values(given) } };
  }
}

function values(given) {
  return Object.fromEntries(Object.entries(given).map(([name, item]) => [name, value(item)]));
}

const { detail = {}, ...where } = JSON.parse(event);
const envelope = { external: { ...where, source, detail: values(detail) } };
const problem = Envelope.verify(envelope);
if (problem) throw new Error(problem);

const address = new URL(url);
const connection = await connect({
  servers: address.host,
  user: decodeURIComponent(address.username) || undefined,
  pass: decodeURIComponent(address.password) || undefined,
});
// The stream answers with where it has put the message.
const answer = await connection.request(
  `weavelet.external.${source}`,
  Envelope.encode(Envelope.create(envelope)).finish(),
  { timeout: 10_000 },
);
console.log(answer.string());
await connection.drain();
