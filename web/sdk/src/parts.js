/** The parts of a client, each a function that gives `core` and the client its methods. A build may add its own. */

import { addConsent } from "./consent.js";
import { addEvents } from "./events.js";
import { addImpressions } from "./impressions.js";
import { addKeptQueue } from "./kept_queue.js";
import { addListeners } from "./listeners.js";
import { addMedia } from "./media.js";
import { addOutbox } from "./outbox.js";
import { addRecommendations } from "./recommendations.js";
import { addShop } from "./shop.js";
import { addSlots } from "./slots.js";
import { addStorage } from "./storage.js";
import { addVisitor } from "./visitor.js";

export const PARTS = [
  addListeners,
  addShop,
  addMedia,
  addImpressions,
  addSlots,
  addStorage,
  addKeptQueue,
  addConsent,
  addRecommendations,
  addEvents,
  addVisitor,
  addOutbox,
];
