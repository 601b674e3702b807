/** `freshet.js`, and further questions to the API; for sites that build whole pages on it. */

import "./questions.js";

export { createFreshet, makeId } from "./freshet.js";
