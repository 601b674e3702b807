/** The script-tag build of `freshet_recommend.js`. */

import "./questions.js";
import "./script.js";
