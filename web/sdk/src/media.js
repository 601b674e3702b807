/** Video and sound: play, pause, and every ten seconds the progress, each with the time watched since the last report. */

const LONGEST_STEP_MS = 2000; // between two "timeupdate"s of a medium that really plays

/** Gives `core` its `observeMedia`. */
export function addMedia(core, methods) {
  /** Reports what becomes of a media element, with `fields`; returns a function that stops it. */
  methods.observeMedia = (element, fields) => {
    let watchedMs = 0;
    let playingSince = 0;

    /** At every sign of life: it played since the last one, if it was playing then. */
    function report(name, atLeastMs) {
      const atMs = performance.now();
      if (playingSince) watchedMs += Math.min(atMs - playingSince, LONGEST_STEP_MS);
      playingSince = element.paused || element.seeking ? 0 : atMs;
      if (watchedMs < atLeastMs) return;
      core.track(name, { ...fields, watched_ms: watchedMs | 0, percent: (element.currentTime / element.duration) * 100 | 0 });
      watchedMs = 0;
    }

    const stops = [
      core.listen("play", () => report("media_play"), element),
      core.listen("pause", () => report("media_pause"), element),
      core.listen("timeupdate", () => report("media_progress", core.progressMs), element),
      core.on("hide", () => report("media_progress", 1)),
    ];
    return () => stops.forEach((stop) => stop());
  };
}
