/** Takes the teacher's key out of the link, where no server sees it and Streamlit's client would drop it, and goes on to the app. */

const key = location.hash.slice(1);
if (key) {
  sessionStorage.setItem('ravine.teacher', key);
  location.replace(new URL('.', location.href));
}
